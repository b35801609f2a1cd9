// What another console imports, such as a plugin of OpenShift's: pages and parts, inside an ApiProvider, a
// QueryClientProvider of TanStack Query and a router.
export { ApiProvider, ProblemError, useApi, type Connection, type Schemas, type Server } from './api/client';
export { Bars } from './parts/Bars';
export { VerdictBars } from './parts/VerdictBars';
export { RangePicker } from './parts/RangePicker';
export { Time } from './parts/Time';
export { Trace, type Explanation } from './parts/Trace';
export { Verdict } from './parts/Verdict';
export { Yaml } from './parts/Yaml';
export { default as Explain } from './pages/explain/Explain';
export { default as Health } from './pages/health/Health';
export { default as Overview } from './pages/overview/Overview';
export { default as Policies } from './pages/policies/Policies';
export { default as Topology } from './pages/topology/Topology';
export { default as Traffic } from './pages/traffic/Traffic';
export { default as WhatIf } from './pages/whatif/WhatIf';
export { default as strings } from './strings/en';
