/* eslint-disable @typescript-eslint/no-require-imports -- an import would be done at once, and fail where the package is not installed */
import type * as k8s from '@pulumi/kubernetes';

const load = (): typeof k8s => require('@pulumi/kubernetes') as typeof k8s;

/** Kubernetes' provider, loaded when it is first used: who has nothing there need not install it. `checkPackages` comes first. */
export const kubernetes = {
  get Provider() {
    return load().Provider;
  },
  get apiextensions() {
    return load().apiextensions;
  },
  get apps() {
    return load().apps;
  },
  get autoscaling() {
    return load().autoscaling;
  },
  get batch() {
    return load().batch;
  },
  get core() {
    return load().core;
  },
  get networking() {
    return load().networking;
  },
  get policy() {
    return load().policy;
  },
  get rbac() {
    return load().rbac;
  },
  get storage() {
    return load().storage;
  },
};
