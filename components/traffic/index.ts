/** Which region a client's connections go to: weights, failover, drains and shifts, by Istio. */
export { type RegionalTrafficArgs, type TrafficRegion, type TrafficShift, type TrafficTuningArgs } from './args';
export { RegionalTraffic } from './traffic';
