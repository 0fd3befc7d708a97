/* eslint-disable @typescript-eslint/no-require-imports -- an import would be done at once, and fail where the package is not installed */
import type * as kvstore from '@pulumi/alicloud/kvstore';
import type * as provider from '@pulumi/alicloud/provider';

/**
 * Alibaba Cloud's provider, loaded when it is first used: who has nothing there need not install it. `checkPackages` comes first. By file: all of its
 * types would cost every program seconds of compiling.
 */
export const alicloud = {
  get kvstore() {
    return require('@pulumi/alicloud/kvstore') as typeof kvstore;
  },
  get Provider() {
    return (require('@pulumi/alicloud/provider') as typeof provider).Provider;
  },
};
