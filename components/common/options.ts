import * as pulumi from '@pulumi/pulumi';

/** Options of a child. What the component's user set (providers, aliases, …) comes by the parent. */
export function childOptions(
  parent: pulumi.Resource,
  more: pulumi.CustomResourceOptions = {},
): pulumi.CustomResourceOptions {
  return pulumi.mergeOptions({ parent }, more);
}

/** Options of a child whose loss is a loss of data. */
export function dataOptions(
  parent: pulumi.Resource,
  keep: { readonly protect?: boolean; readonly retainOnDelete?: boolean },
  more: pulumi.CustomResourceOptions = {},
): pulumi.CustomResourceOptions {
  // Absent rather than false: then a `protect` on the component itself still reaches its children.
  return childOptions(
    parent,
    pulumi.mergeOptions(
      {
        ...(keep.protect === true ? { protect: true } : {}),
        ...(keep.retainOnDelete === true ? { retainOnDelete: true } : {}),
      },
      more,
    ),
  );
}
