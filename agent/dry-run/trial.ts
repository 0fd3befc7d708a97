/** What a dry run has found since its agent began, over all sessions beside its Redis. */
import { type Class, CLASS_NAMES, findCommand, UNKNOWN_COMMAND, Class as Classes } from '../merge/commands';
import type { OpRecord } from '../record';
import { CommandScanner } from '../resp';
import type { Numbers } from '../stream/numbers';
import type { RecorderState } from '../stream/recorder';
import type { DryRunMetrics } from './metrics';

/** Keys of this region beside those of the one whose data it would take over. */
export interface Survey {
  /** Null: this region would begin the mesh, and its data would be the mesh's. */
  readonly with: string | null;
  /** When they were compared, in ms since 1970. What is written in between may count as different. */
  readonly timeMs: number;
  readonly here: number;
  readonly there: number;
  readonly equal: number;
  /** The other region's values would stand. */
  readonly differing: number;
  /** They would be offered to the other regions. */
  readonly onlyHere: number;
  /** They would be loaded. */
  readonly onlyThere: number;
}

/** In /status. */
export interface TrialReport {
  readonly sinceMs: number;
  /** Other regions' operations that would have been applied here, by what becomes of their commands. */
  readonly wouldApply: { readonly operations: number; readonly byClass: Readonly<Record<string, number>> };
  /** Operations that met one which they had not seen, by type. */
  readonly wouldConflict: { readonly operations: number; readonly byType: Readonly<Record<string, number>> };
  /** Null until there was somebody to compare with. */
  readonly keys: Survey | null;
  /** How often what was under way was let go of, so that memory stays bounded: conflicts of that moment may be missing. */
  readonly forgotten: number;
}

/** Where the own stream was left, for a session that goes on there. */
export interface Place {
  readonly replId: string;
  readonly state: RecorderState;
  readonly numbers: Numbers;
}

export class Trial {
  place: Place | null = null;
  survey: Survey | null = null;
  forgotten = 0;
  private readonly sinceMs = Date.now();
  private readonly byClass: Record<string, number> = {};
  private readonly byType: Record<string, number> = {};

  constructor(private readonly metrics: DryRunMetrics) {}

  /** Counts another region's record. */
  wouldApply(record: OpRecord): void {
    const scanner = new CommandScanner();
    scanner.push(record.payload);
    const found = new Map<Class, number>();
    while (scanner.next()) {
      const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
      if (command.class !== Classes.ignored) found.set(command.class, (found.get(command.class) ?? 0) + 1);
    }
    for (const [of, n] of found) {
      const name = CLASS_NAMES[of];
      this.byClass[name] = (this.byClass[name] ?? 0) + n;
      this.metrics.operations(name, n);
    }
  }

  wouldConflict(type: string, n: number): void {
    this.byType[type] = (this.byType[type] ?? 0) + n;
    this.metrics.conflicts(type, n);
  }

  report(): TrialReport {
    const sum = (counts: Readonly<Record<string, number>>): number =>
      Object.values(counts).reduce((all, n) => all + n, 0);
    const { sinceMs, byClass, byType, survey, forgotten } = this;
    return {
      sinceMs,
      wouldApply: { operations: sum(byClass), byClass: { ...byClass } },
      wouldConflict: { operations: sum(byType), byType: { ...byType } },
      keys: survey,
      forgotten,
    };
  }
}
