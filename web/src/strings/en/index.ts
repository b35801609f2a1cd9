import common from './common';
import explain from './explain';
import health from './health';
import overview from './overview';
import policies from './policies';
import topology from './topology';
import trace from './trace';
import traffic from './traffic';
import whatif from './whatif';

export default { common, explain, health, overview, policies, topology, trace, traffic, whatif };
