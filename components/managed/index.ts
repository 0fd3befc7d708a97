/** What the Redis services of cloud providers share: who may log in, and from where. */
export { accountsOf, kindsOf, passwordsOf, readers, unusedPassword } from './accounts';
export { captureOf, eventIssues, eventsOf } from './events';
export { allowListIssues, checkedNetwork, isNetwork, networkIssues, requireNetwork } from './networks';
