import { lazy } from 'react';
import Traffic from '../pages/traffic/Traffic';

/** The pages in the order of the menu. `key` goes there after `g`. That which opens first comes with the program. */
export const PAGES = [
  { name: 'overview', path: '/overview', key: 'o', Page: lazy(() => import('../pages/overview/Overview')) },
  { name: 'traffic', path: '/traffic', key: 't', Page: Traffic },
  { name: 'topology', path: '/topology', key: 'm', Page: lazy(() => import('../pages/topology/Topology')) },
  { name: 'policies', path: '/policies', key: 'p', Page: lazy(() => import('../pages/policies/Policies')) },
  { name: 'whatif', path: '/whatif', key: 'w', Page: lazy(() => import('../pages/whatif/WhatIf')) },
  { name: 'explain', path: '/explain', key: 'e', Page: lazy(() => import('../pages/explain/Explain')) },
  { name: 'health', path: '/health', key: 'h', Page: lazy(() => import('../pages/health/Health')) },
] as const;
