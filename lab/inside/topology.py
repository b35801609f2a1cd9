"""The cluster of the two-zone lab: nodes, pods, services. With --udn, a second network has pods of the same addresses. Read by zone.py (rows) and lab-traffic (packets); node-up has the node part for shell."""
import os
from collections import namedtuple

Pod = namedtuple('Pod', 'namespace name node octet app network', defaults=['default'])
PODS = [
    Pod('frontend', 'client', 1, 5, 'client'),
    Pod('tools', 'probe1', 1, 6, 'monitor'),
    Pod('backend', 'api', 1, 7, 'api'),
    Pod('backend', 'server', 2, 5, 'server'),
    Pod('tools', 'probe2', 2, 6, 'probe'),
    Pod('frontend', 'web', 2, 7, 'web'),
]
NETWORK = 'cluster_udn_blue'
UDN_PODS = [
    Pod('blue', 'client', 1, 5, 'client', NETWORK),  # the addresses of frontend/client
    Pod('blue', 'server', 1, 7, 'server', NETWORK),  # and of backend/api
] if os.environ.get('LAB_UDN') else []
CLUSTER, CLUSTER6 = '10.244.0.0/16', 'fd00:10:244::/48'
SERVICE, SERVICE6 = '10.96.0.10', 'fd00:10:96::10'  # backend/iperf, port 80 to 5201 of backend/server


def node_name(n): return f'ovn-worker-{n}'
def chassis(n): return f'{n}c4a5515-0000-4000-8000-000000000000'
def mac(ip): return '0a:58:' + ':'.join(f'{int(x):02x}' for x in ip.split('.'))
def ip(pod): return f'10.244.{pod.node}.{pod.octet}'
def ip6(pod): return f'fd00:10:244:{pod.node}::{pod.octet}'
def netns(pod): return f'{pod.namespace}_{pod.name}'
def port(pod): return netns(pod) if pod.network == 'default' else f'{pod.namespace}.blue_{netns(pod)}'
def uid(pod): return f'00000000-0000-4000-9000-000000{pod.network != "default":d}{pod.node:02d}{pod.octet:03d}'
def management(n): return f'10.244.{n}.2'
def management6(n): return f'fd00:10:244:{n}::2'
def gateway(n): return f'10.244.{n}.1'
def gateway6(n): return f'fd00:10:244:{n}::1'
def transit(n): return f'100.88.0.{n + 1}'
def transit6(n): return f'fd97::{n + 1}'
def find(name): return next(p for p in PODS if f'{p.namespace}/{p.name}' == name)
