/** What the Redis services of cloud providers share: who may log in, and from where. */
export { accountsOf, kindsOf, passwordsOf, pickPasswords, readers, unusedPassword } from './accounts';
export { checkedNetwork, isNetwork, networkIssues, requireNetwork } from './networks';
