/**
 * Keys of a snapshot whose time was over before it was made. That they go is told by the stream, so they are no difference. But where the clock of their
 * Redis was set back meanwhile it has them yet, and clients may give them more time: then they are one as all others are.
 */
import type { Candidate } from '../merge/difference';
import type { KeyName } from './donor';

/** So many are looked at together: their values are in memory until then. */
const KEYS_PER_REQUEST = 100;

export class OverKeys {
  private keys: { readonly candidate: Candidate; readonly isTheirs: boolean }[] = [];

  /**
   * @param areThere which keys Redis has: what is over goes when it is asked, and the stream tells of that
   * @param unexplained the donor's data holds changes that are in no operation
   * @param found what has to be compared
   */
  constructor(
    private readonly areThere: (keys: readonly KeyName[]) => Promise<boolean[]>,
    private readonly unexplained: boolean,
    private readonly found: (candidate: Candidate) => void,
  ) {}

  /** @param isTheirs the donor has it, too */
  async add(candidate: Candidate, isTheirs: boolean): Promise<void> {
    this.keys.push({ candidate, isTheirs });
    if (this.keys.length >= KEYS_PER_REQUEST) await this.look();
  }

  /** Looks at what was added and not looked at yet. */
  async look(): Promise<void> {
    const keys = this.keys.splice(0);
    if (keys.length === 0) return;
    const areThere = await this.areThere(keys.map(({ candidate: { db, key } }) => ({ db, key })));
    keys.forEach(({ candidate, isTheirs }, i) => {
      if (areThere[i] === true) this.found(candidate);
      // What is in no operation there has not been seen by what the stream tells.
      else if (this.unexplained && isTheirs) this.found({ ...candidate, parts: [] });
    });
  }
}
