/** Writes the journal's document (position.ts), and has the journal let go of what no region needs any more. */
import { type OriginId, regionOf, type Vector } from '../record';
import type { Beat } from '../peers';
import { raise } from '../vector';
import type { AgentContext } from './context';
import type { Meta } from './position';

export class MetaKeeper {
  /** What each region has reported to have journalled. */
  private readonly durableOf = new Map<string, Map<OriginId, number>>();
  private isTrimming = false;

  /** @param meta the document, with what every region has seen */
  constructor(
    private readonly context: AgentContext,
    private readonly meta: (low: Vector) => Meta,
  ) {}

  noteDurable({ region, durable: reported }: Beat): void {
    let durable = this.durableOf.get(region);
    if (durable === undefined) this.durableOf.set(region, (durable = new Map<OriginId, number>()));
    raise(durable, reported);
  }

  /** @throws JournalError */
  write(low: Vector): Promise<void> {
    const { journal } = this.context;
    const meta = this.meta(low);
    // The document must not be ahead of the journal: what it says was read has to be durable first.
    return journal.flushed().then(() => journal.writeMeta(meta));
  }

  /** The same, where it comes again soon. @returns whether it is written */
  keep(low: Vector): Promise<boolean> {
    return this.write(low).then(
      () => true,
      (error: unknown) => {
        this.context.log.error({ err: error }, 'cannot keep the position');
        return false;
      },
    );
  }

  /** What the journal lets go of is not asked for after a crash: the document has to say so first. */
  async keepAndTrim(low: Vector): Promise<void> {
    if (this.isTrimming) return;
    this.isTrimming = true;
    if (await this.keep(low)) await this.trim(new Map(low));
    this.isTrimming = false;
  }

  private async trim(low: Map<OriginId, number>): Promise<void> {
    const { journal, config } = this.context;
    // Kept for every member that has not journalled it, reachable or not.
    for (const member of config.members) {
      if (member.name === config.region) continue;
      const durable = this.durableOf.get(member.name);
      // Its own it has, but for what it has not flushed yet; of histories that it does not speak of it has all it will ever want.
      for (const [origin, position] of low)
        low.set(origin, Math.min(position, durable?.get(origin) ?? (regionOf(origin) === member.name ? position : -1)));
    }
    if (low.size > 0) await journal.trim(low).catch(() => undefined);
  }
}
