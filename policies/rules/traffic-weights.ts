import { isKind } from '../kubernetes';
import { at, isMapping, listAt, mappingAt, textAt } from '../props';
import { type Issue, Level, resourceRule } from '../rule';

/** Advisory: what it costs is a deployment that Istio refuses, or traffic that goes elsewhere than said; no data. */
export const trafficWeights = resourceRule({
  name: 'traffic-weights',
  level: Level.Advisory,
  what: 'The weights of traffic between regions sum to 100.',
  why: 'Istio refuses a distribution with another sum, and takes the weights of a route as parts of whatever the sum is: traffic then goes elsewhere than the config says.',
  fix: 'Correct `distribute` or `weights` of RegionalTraffic (`meridian:traffic`), which checks them too.',
  settings: {},
  concerns: isKind('DestinationRule', 'VirtualService'),
  check: ({ type, props }) => (type.endsWith(':DestinationRule') ? distributeIssues(props) : routeIssues(props)),
});

const wanted = 100;

function sumIssues(where: string, weights: readonly unknown[]): Issue[] {
  const sum = weights.reduce<number>((total, weight) => total + Number(weight ?? 0), 0);
  return sum === wanted ? [] : [{ where, found: `a sum of ${sum}`, allowed: String(wanted) }];
}

function distributeIssues(props: unknown): Issue[] {
  const spec = mappingAt(props, 'spec');
  const policies = [
    { at: 'spec.trafficPolicy', policy: at(spec, 'trafficPolicy') },
    ...listAt(spec, 'subsets').map((subset, i) => ({
      at: `spec.subsets[${i}].trafficPolicy`,
      policy: at(subset, 'trafficPolicy'),
    })),
  ];
  return policies.flatMap(({ at: where, policy }) =>
    listAt(policy, 'loadBalancer', 'localityLbSetting', 'distribute').flatMap((item) =>
      sumIssues(
        `${where}.loadBalancer.localityLbSetting.distribute[from ${textAt(item, 'from') ?? ''}]`,
        Object.values(mappingAt(item, 'to')),
      ),
    ),
  );
}

/** A route with one destination needs no weight. */
function routeIssues(props: unknown): Issue[] {
  return ['tcp', 'tls', 'http'].flatMap((protocol) =>
    listAt(props, 'spec', protocol).flatMap((route, i) => {
      const destinations = listAt(route, 'route').filter(isMapping);
      const isWeighted = destinations.length > 1 || destinations.some((one) => at(one, 'weight') !== undefined);
      const weights = destinations.map((one) => at(one, 'weight'));
      return isWeighted ? sumIssues(`spec.${protocol}[${i}].route`, weights) : [];
    }),
  );
}
