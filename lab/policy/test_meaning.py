"""The judge's own reading of the API, on cases whose answers stand in its documentation."""
import json
import random
import unittest

import cluster
import manifest
import meaning
import questions


def pod(name, address, namespace='shop', labels=None, ports=(), **more):
    return {'kind': 'Pod', 'metadata': {'name': name, 'namespace': namespace, 'labels': labels or {'app': name}},
            'spec': {'nodeName': 'node-1', 'containers': [{'ports': [{'name': n, 'containerPort': p, 'protocol': proto} for n, p, proto in ports]}], **more},
            'status': {'phase': 'Running', 'podIP': address}}


OBJECTS = [
    {'kind': 'Namespace', 'metadata': {'name': 'shop', 'labels': {'team': 'blue'}}},
    {'kind': 'Namespace', 'metadata': {'name': 'tools', 'labels': {'team': 'red'}}},
    {'kind': 'Node', 'metadata': {'name': 'node-1', 'labels': {'zone': 'a'}}, 'status': {'addresses': [{'type': 'InternalIP', 'address': '172.18.0.2'}]}},
    pod('web', '10.244.1.3', ports=[('http', 8080, 'TCP')]), pod('db', '10.244.1.4', ports=[('http', 80, 'TCP'), ('query', 53, 'UDP')]),
    pod('probe', '10.244.1.5', 'tools'), pod('agent', '172.18.0.2', 'tools', hostNetwork=True)]


class Meaning(unittest.TestCase):
    def ask(self, policies, source, destination, port, protocol='TCP'):
        c = meaning.Cluster(OBJECTS + list(policies), ['10.244.0.0/16'])
        answer = meaning.judge(c, c.party(source), c.party(destination), protocol, port)
        return None if answer.undefined else answer.allowed

    def expect(self, policies, *cases):
        for source, destination, port, allowed in cases:
            with self.subTest(source=source, destination=destination, port=port):
                self.assertEqual(self.ask(policies, source, destination, *(port if isinstance(port, tuple) else (port,))), allowed)

    web, db, probe, outside = '10.244.1.3', '10.244.1.4', '10.244.1.5', '203.0.113.5'

    def policy(self, **spec):
        return {'kind': 'NetworkPolicy', 'metadata': {'name': 'p', 'namespace': 'shop'}, 'spec': {'podSelector': {}, **spec}}

    def test_without_policies_everything_is_allowed(self):
        self.expect([], (self.web, self.db, 80, True), (self.outside, self.db, 80, True), (self.web, self.outside, 443, True))

    def test_a_selected_pod_is_isolated_in_the_directions_of_the_policy(self):
        self.expect([self.policy()], (self.probe, self.db, 80, False), (self.web, self.probe, 80, True))
        self.expect([self.policy(policyTypes=['Egress'])], (self.probe, self.db, 80, True), (self.web, self.probe, 80, False))
        self.expect([self.policy(egress=[{}])], (self.probe, self.db, 80, False), (self.web, self.probe, 80, True))
        self.expect([self.policy(egress=[])], (self.web, self.probe, 80, True))

    def test_an_empty_rule_allows_all_and_no_rule_nothing(self):
        self.expect([self.policy(ingress=[{}])], (self.outside, self.db, 80, True))
        self.expect([self.policy(ingress=[{'from': [], 'ports': []}])], (self.outside, self.db, 80, True))
        self.expect([self.policy(ingress=[])], (self.outside, self.db, 80, False))

    def test_both_ends_must_agree(self):
        tools = {'namespaceSelector': {'matchLabels': {'team': 'red'}}}
        self.expect([self.policy(ingress=[{'from': [tools]}], policyTypes=['Ingress', 'Egress'])], (self.probe, self.db, 80, True), (self.web, self.db, 80, False))

    def test_two_selectors_in_one_peer_must_both_match_and_two_peers_need_one(self):
        namespace, pods = {'namespaceSelector': {'matchLabels': {'team': 'red'}}}, {'podSelector': {'matchLabels': {'app': 'web'}}}
        self.expect([self.policy(ingress=[{'from': [{**namespace, **pods}]}])], (self.probe, self.db, 80, False), (self.web, self.db, 80, False))
        self.expect([self.policy(ingress=[{'from': [namespace, pods]}])], (self.probe, self.db, 80, True), (self.web, self.db, 80, True))

    def test_a_pod_selector_alone_means_the_policys_namespace(self):
        self.expect([self.policy(ingress=[{'from': [{'podSelector': {}}]}])], (self.web, self.db, 80, True), (self.probe, self.db, 80, False))

    def test_expressions(self):
        def by(operator, *values):
            return self.policy(ingress=[{'from': [{'namespaceSelector': {}, 'podSelector': {'matchExpressions': [
                {'key': 'app', 'operator': operator, **({'values': values} if values else {})}]}}]}])
        self.expect([by('In', 'web', 'x')], (self.web, self.db, 80, True), (self.probe, self.db, 80, False))
        self.expect([by('NotIn', 'web')], (self.web, self.db, 80, False), (self.probe, self.db, 80, True))
        self.expect([by('Exists')], (self.web, self.db, 80, True))
        self.expect([by('DoesNotExist')], (self.web, self.db, 80, False))
        absent = {'matchExpressions': [{'key': 'none', 'operator': 'NotIn', 'values': ['x']}]}
        self.assertTrue(meaning.selects(absent, {}))

    def test_blocks_and_their_exceptions(self):
        block = {'ipBlock': {'cidr': '203.0.113.0/24', 'except': ['203.0.113.64/26']}}
        self.expect([self.policy(ingress=[{'from': [block]}])], (self.outside, self.db, 80, True), ('203.0.113.77', self.db, 80, False), (self.web, self.db, 80, False))

    def test_ports(self):
        def port(**p):
            return [self.policy(ingress=[{'ports': [p]}])]
        self.expect(port(port=80), (self.web, self.db, 80, True), (self.web, self.db, 81, False), (self.web, self.db, (80, 'UDP'), False))
        self.expect(port(protocol='UDP'), (self.web, self.db, (9, 'UDP'), True), (self.web, self.db, 9, False))
        self.expect(port(port=80, endPort=90), (self.web, self.db, 90, True), (self.web, self.db, 91, False))
        self.expect(port(port='http'), (self.db, self.web, 8080, True), (self.db, self.web, 80, False), (self.web, self.db, 80, True))
        self.expect(port(port='query'), (self.web, self.db, (53, 'UDP'), False))

    def test_a_node_may_always_reach_its_pods(self):
        c = meaning.Cluster(OBJECTS + [self.policy()], ['10.244.0.0/16'])
        self.assertTrue(meaning.judge(c, meaning.Party('10.244.1.2', node='node-1', inside=True), c.party(self.db), 'TCP', 80).allowed)

    def admin(self, priority, *rules, name='a', direction='ingress'):
        return {'kind': 'AdminNetworkPolicy', 'metadata': {'name': name}, 'spec': {'priority': priority, 'subject': {'namespaces': {'matchLabels': {'team': 'blue'}}},
                                                                                 direction: [{'action': a, **r} for a, r in rules]}}

    def test_tiers_in_their_order(self):
        everyone = {'from': [{'namespaces': {}}]}
        deny, allow, skip = (self.admin(5, (action, everyone)) for action in ('Deny', 'Allow', 'Pass'))
        baseline = {**self.admin(0, ('Deny', everyone)), 'kind': 'BaselineAdminNetworkPolicy'}
        isolated, open_ = self.policy(), self.policy(ingress=[{}])
        case = lambda allowed: (self.probe, self.db, 80, allowed)
        self.expect([deny, open_], case(False))
        self.expect([allow, isolated], case(True))
        self.expect([skip, isolated], case(False))
        self.expect([skip, open_, baseline], case(True))
        self.expect([skip, baseline], case(False))
        self.expect([baseline], case(False), (self.outside, self.db, 80, True))
        self.expect([self.admin(9, ('Deny', everyone)), self.admin(5, ('Allow', everyone), name='b')], case(True))

    def test_peers_and_ports_of_admin_policies(self):
        ports = {'ports': [{'portRange': {'protocol': 'TCP', 'start': 80, 'end': 90}}, {'namedPort': 'query'}]}
        deny = self.admin(1, ('Deny', {'from': [{'pods': {'namespaceSelector': {}, 'podSelector': {'matchLabels': {'app': 'web'}}}}], **ports}))
        self.expect([deny], (self.web, self.db, 85, False), (self.web, self.db, 91, True), (self.web, self.db, (53, 'UDP'), False), (self.probe, self.db, 85, True))
        out = self.admin(1, ('Deny', {'to': [{'networks': ['203.0.113.0/24']}, {'nodes': {'matchLabels': {'zone': 'a'}}}]}), direction='egress')
        self.expect([out], (self.web, self.outside, 80, False), (self.web, '198.51.100.9', 80, True))

    def test_cluster_network_policy(self):
        rule = {'action': 'Deny', 'to': [{'namespaces': {}}], 'protocols': [{'udp': {'destinationPort': {'number': 53}}}, {'destinationNamedPort': 'http'}]}
        policy = {'kind': 'ClusterNetworkPolicy', 'metadata': {'name': 'c'}, 'spec': {'tier': 'Baseline', 'priority': 3, 'subject': {'namespaces': {}}, 'egress': [rule]}}
        self.expect([policy], (self.web, self.db, (53, 'UDP'), False), (self.web, self.db, 80, False), (self.db, self.web, 80, True), (self.db, self.web, 8080, False))
        self.expect([policy, self.policy(egress=[{}])], (self.web, self.db, 80, False), (self.web, self.probe, 80, True))

    def test_what_the_documents_leave_open_is_not_judged(self):
        elsewhere = {**pod('other', '10.244.2.3'), 'spec': {'nodeName': 'node-2', 'containers': []}}
        to_agent = self.policy(podSelector={'matchLabels': {'app': 'other'}}, egress=[{'to': [{'namespaceSelector': {}}]}], policyTypes=['Egress'])
        self.expect([elsewhere, to_agent], ('10.244.2.3', '172.18.0.2', 80, None), ('10.244.2.3', self.web, 80, True))

    def test_egress_firewall(self):
        rules = [{'type': 'Allow', 'to': {'cidrSelector': '203.0.113.0/24'}, 'ports': [{'protocol': 'TCP', 'port': 443}]},
                 {'type': 'Deny', 'to': {'cidrSelector': '0.0.0.0/0'}}]
        firewall = {'kind': 'EgressFirewall', 'metadata': {'name': 'default', 'namespace': 'shop'}, 'spec': {'egress': rules}}
        self.expect([firewall], (self.web, self.outside, 443, True), (self.web, self.outside, 80, False), (self.probe, self.outside, 80, True), (self.web, self.db, 80, True))

    def test_a_service_goes_to_its_ready_endpoints(self):
        service = {'kind': 'Service', 'metadata': {'name': 's', 'namespace': 'shop'}, 'spec': {'ports': [{'port': 80, 'name': 'a'}]}}
        piece = {'kind': 'EndpointSlice', 'metadata': {'name': 's1', 'namespace': 'shop', 'labels': {'kubernetes.io/service-name': 's'}}, 'addressType': 'IPv4',
                 'ports': [{'name': 'a', 'port': 8080}, {'name': 'b', 'port': 1}],
                 'endpoints': [{'addresses': ['10.244.1.3'], 'conditions': {'ready': False}}, {'addresses': ['10.244.1.4'], 'nodeName': 'node-1'}]}
        ends = lambda family=4, **spec: meaning.backends([piece], {**service, 'spec': {**service['spec'], **spec}}, service['spec']['ports'][0], family, 'node-1')
        self.assertEqual(ends(), [('10.244.1.4', 8080)])
        self.assertEqual(ends(6), [])
        self.assertEqual(ends(publishNotReadyAddresses=True), [('10.244.1.3', 8080), ('10.244.1.4', 8080)])
        self.assertEqual(ends(internalTrafficPolicy='Local'), [('10.244.1.4', 8080)])
        piece['endpoints'] = [{'addresses': ['10.244.1.3'], 'conditions': {'ready': False, 'serving': True, 'terminating': True}}]
        self.assertEqual(ends(), [('10.244.1.3', 8080)])
        piece['endpoints'][0]['conditions']['serving'] = False
        self.assertEqual(ends(), [])


class Generator(unittest.TestCase):
    def test_a_seed_gives_the_same_set_and_questions_again(self):
        def run():
            s = cluster.Set('x', 3)
            asked = questions.Asker(s.objects, s.families, s.random).questions(30)
            return manifest.write(s.objects, s.random), [str(q) for q in asked]
        self.assertEqual(run(), run())

    def test_json_says_what_was_meant(self):
        objects = cluster.Set('x', 1).objects
        texts = {manifest.write(objects, random.Random(n)) for n in range(40)}
        read = [json.loads(t)['items'] for t in texts if t.startswith('{') and '\n---\n' not in t]
        self.assertTrue(read)
        self.assertTrue(all(r == objects for r in read))


if __name__ == '__main__':
    unittest.main(argv=['test_meaning'])
