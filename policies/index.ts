/** The policy pack: `pulumi preview --policy-pack policies`. What its rules say: docs/policies.md. */
import { PolicyPack } from '@pulumi/policy';

import { rules } from './rules';

new PolicyPack('meridian', { policies: rules.map(({ policy }) => policy) });
