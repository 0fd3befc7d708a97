/** What Prometheus takes, and what our alerts are made of. */

export const Severity = {
  /** Someone is woken. */
  Critical: 'critical',
  /** Someone looks at it in the morning. */
  Warning: 'warning',
} as const;
export type Severity = (typeof Severity)[keyof typeof Severity];

/** An alert, as it stands in a PrometheusRule. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<'summary' | 'description' | 'runbook_url', string>>;
}

export interface AlertGroup {
  readonly name: string;
  readonly rules: readonly AlertRule[];
}

/** An alert before it has its region and its runbook. */
export interface Draft {
  /** Also the name of the runbook. The same name may have two severities: then the critical one can inhibit the warning. */
  readonly alert: string;
  readonly severity: Severity;
  readonly expr: string;
  /** How long it must last. */
  readonly forSeconds: number;
  /** One line; templates of Prometheus see labels and value. */
  readonly summary: string;
  /** What it means, in a sentence or two. */
  readonly description: string;
}
