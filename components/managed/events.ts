import { Capture, captureEvents, type ConfigIssue, reportsEveryChange } from '../../model';
import { rule } from '../common';

/** The arguments by which a service is told what to report. */
interface Reporting {
  readonly capture?: Capture;
  readonly notifyKeyspaceEvents?: string;
}

/** How the sync agent learns of changes. A managed Redis gives no replication stream. */
export const captureOf = ({ capture }: Reporting): Capture => capture ?? Capture.Notifications;

/** `notify-keyspace-events`; empty for none. */
export function eventsOf(args: Reporting): string {
  return args.notifyKeyspaceEvents ?? (captureOf(args) === Capture.Notifications ? captureEvents : '');
}

/** A change that is not reported stays in its region. */
export function eventIssues(args: Reporting): ConfigIssue[] {
  const events = eventsOf(args);
  return rule(
    captureOf(args) !== Capture.Notifications || reportsEveryChange(events),
    'notifyKeyspaceEvents',
    `"${events}"`,
    `A, K and E at least, such as ${captureEvents}: a change that is not reported stays in its region`,
  );
}
