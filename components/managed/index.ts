/** What the Redis services of cloud providers share: who may log in, and from where. */
export { accountsOf, kindsOf, passwordsOf, readers, unusedPassword } from './accounts';
export { checkedNetwork, isNetwork, networkIssues } from './networks';
