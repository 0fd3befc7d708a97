/** What @pulumi/policy wraps a resource in, so that a rule which reads what a preview can't know is noticed. Its types leave it out. */
import { type Mapping } from '../props';

interface Proxies {
  readonly unknownCheckingProxy: (props: Mapping) => Mapping;
  readonly UnknownValueError: new (...args: never[]) => Error;
  /** Stands for a text that is not known yet, as the engine sends it. */
  readonly unknownStringValue: string;
}

// eslint-disable-next-line @typescript-eslint/no-require-imports
const proxies = require('@pulumi/policy/proxy') as Proxies;
export const { unknownCheckingProxy, unknownStringValue, UnknownValueError } = proxies;
