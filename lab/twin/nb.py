"""Random northbound databases for the judges of the twin: all that the ACL stages of a switch depend on.

`Northbound(random, variant)` makes one; `operations()` puts it in the place of what a database holds, in one transaction. What a row has is in
`rows`, by table and name; names of rows are also their uuid-names."""
import collections
import json

ACTIONS = ['allow', 'allow-related', 'allow-stateless', 'drop', 'reject', 'pass']
BLOCKS = ['from-lport', 'after-lb', 'to-lport']
VARIANTS = ['none', 'one', 'several', 'mixed']  # how many collectors a sample has
KINDS = ['none', 'zero', 'one', 'several']
LOGS = ['no', 'plain', 'meter', 'fair', 'missing']
ROOTS = ('ACL', 'Sample', 'Sample_Collector', 'Copp', 'Logical_Switch', 'Address_Set', 'Port_Group', 'Load_Balancer', 'Load_Balancer_Group', 'Meter', 'Logical_Router',
         'DHCP_Options', 'DNS', 'Sampling_App')


class Northbound:
    def __init__(self, random, variant, release='25.03', acls=60):
        self.random, self.variant, self.release = random, variant, release
        self.rows = collections.defaultdict(dict)
        self.options = {}
        self.points = iter(random.sample(range(1, 1 << 32), 1000))
        self.make_globals()
        self.make_addresses()
        self.make_balancers()
        self.switches = [self.make_switch(n) for n in range(random.randint(1, 4))]
        self.make_router()
        self.groups = [self.make_group(n) for n in range(random.randint(1, 4))]
        self.functions = self.make_functions() if release != '25.03' else [None]
        self.make_acls(random.choice([0, 1, *[acls] * 6]))

    def maybe(self, share=0.5):
        return self.random.random() < share

    def add(self, table, name, /, **columns):
        self.rows[table][name] = {column: value for column, value in columns.items() if value is not None}
        return name

    def operations(self):
        """What makes a database hold this and nothing else."""
        yield from ({'op': 'delete', 'table': table, 'where': []} for table in ROOTS)
        if self.release != '25.03':
            yield from ({'op': 'delete', 'table': table, 'where': []} for table in ('Network_Function_Group', 'Network_Function', 'Mirror'))
        for table, rows in self.rows.items():
            for name, columns in rows.items():
                yield {'op': 'insert', 'table': table, 'uuid-name': name, 'row': {column: ovsdb(value) for column, value in columns.items()}}
        yield {'op': 'update', 'table': 'NB_Global', 'where': [], 'row': {'name': 'zone', 'options': ovsdb(self.options)}}

    # --- what all switches share

    def make_globals(self):
        random = self.random
        if self.maybe(0.3):
            self.options['default_acl_drop'] = random.choice(['true', 'True', 'false'])
        if self.maybe(0.3):
            self.options['use_ct_inv_match'] = random.choice(['false', 'no', 'true'])
        if self.maybe(0.5):
            self.options['debug_drop_collector_set'] = str(random.choice([0, 1, 77, 300]))
        if self.maybe(0.5):
            self.options['debug_drop_domain_id'] = str(random.choice([1, 9, 254]))
        if self.release != '25.03' and self.maybe(0.2):
            self.options['acl_ct_translation'] = 'true'
        for kind in 'drop', 'acl-new', 'acl-est':
            if self.maybe(0.6):
                self.add('Sampling_App', f'app_{kind.replace("-", "_")}', type=kind, id=random.randint(1, 254))
        numbers = random.sample(range(1, 256), 4)
        self.collectors = [self.add('Sample_Collector', f'collector{n}', id=number, name=f'c{n}', probability=random.choice([0, 1, 655, 65535]),
                                    set_id=random.choice([1, 42, 255, 256, 70000, (1 << 32) - 1])) for n, number in enumerate(numbers)]
        for name, fair in ('plain', False), ('fair', True), ('unsaid', None):
            band = self.add('Meter_Band', f'band_{name}', action='drop', rate=random.randint(1, 100))
            self.add('Meter', f'meter_{name}', name=name, unit='pktps', bands=Set(Ref(band)), fair=fair)
        self.copps = [self.add('Copp', f'copp{n}', name=f'copp{n}', meters={'reject': meter, 'dns': 'plain'}) for n, meter in enumerate(['plain', 'gone'])]
        self.dns = [self.add('DNS', 'dns_some', records={'a.example': '10.0.0.1'}), self.add('DNS', 'dns_none')]
        good4 = {'server_id': '10.0.0.254', 'server_mac': 'c0:ff:ee:00:00:01', 'lease_time': '3600'}
        self.dhcp4 = [self.add('DHCP_Options', 'dhcp4_good', cidr='10.0.0.0/8', options=good4),
                      self.add('DHCP_Options', 'dhcp4_host', cidr='10.0.0.9/255.0.0.0', options=good4),
                      self.add('DHCP_Options', 'dhcp4_far', cidr='192.168.0.0/16', options=good4),
                      self.add('DHCP_Options', 'dhcp4_short', cidr='10.0.0.0/8', options={'server_id': '10.0.0.254'}),
                      self.add('DHCP_Options', 'dhcp4_bad', cidr='10.0.0.0/33', options=good4)]
        good6 = {'server_id': '00:00:00:10:00:01'}
        self.dhcp6 = [self.add('DHCP_Options', 'dhcp6_good', cidr='fd00::/64', options=good6),
                      self.add('DHCP_Options', 'dhcp6_other', cidr='fd00::/32', options={'server_id': 'C2:FF:0e:00:00:0A'}),
                      self.add('DHCP_Options', 'dhcp6_far', cidr='fd99::/64', options=good6),
                      self.add('DHCP_Options', 'dhcp6_bad', cidr='fd00::/64', options={'server_id': 'nobody'})]

    def make_addresses(self):
        self.add('Address_Set', 'as4', name='as4', addresses=Set('10.0.0.1', '10.0.1.2', '203.0.113.0/24'))
        self.add('Address_Set', 'as6', name='as6', addresses=Set('fd00::1', 'fd00::1:2', '2001:db8::/32'))

    def make_balancers(self):
        self.add('Load_Balancer', 'lb4', name='lb4', protocol='tcp', vips={'172.30.0.1:80': '10.0.0.1:8080,10.0.1.1:8080'})
        self.add('Load_Balancer', 'lb6', name='lb6', protocol='udp', vips={'[fd01::1]:53': '[fd00::1]:5353'})
        self.add('Load_Balancer', 'lb_no_backend', name='lb_no_backend', protocol='tcp', vips={'172.30.0.2:80': ''})
        self.add('Load_Balancer', 'lb_no_vip', name='lb_no_vip', protocol='tcp')
        self.balancers = ['lb4', 'lb6', 'lb_no_backend', 'lb_no_vip']
        self.add('Load_Balancer_Group', 'lbg_some', name='lbg_some', load_balancer=Set(Ref('lb4'), Ref('lb_no_vip')))
        self.add('Load_Balancer_Group', 'lbg_none', name='lbg_none', load_balancer=Set(Ref('lb_no_vip')))

    def make_switch(self, number):
        random, name = self.random, f'sw{number}'
        ports = []
        for n in range(random.randint(1, 3)):
            addresses = [f'0a:00:00:00:0{number}:0{n} 10.0.{number}.{n + 1} fd00::{number}:{n + 1}'] if self.maybe(0.8) else []
            if self.maybe(0.2):
                addresses.append(random.choice(['unknown', f'0a:01:00:00:0{number}:0{n}', f'0a:01:00:00:0{number}:0{n} 10.9.{number}.{n + 1}',
                                                f'0a:01:00:00:0{number}:0{n} fd00::9:{number}:{n + 1}']))
            ports.append(self.add('Logical_Switch_Port', f'{name}_p{n}', name=random.choice([f'{name}-p{n}', f'{name}_p"{n}', f'ns-{number}_pod\\{n}']),
                                  addresses=Set(*addresses), enabled=random.choice([None, None, None, True, False]),
                                  type=random.choice(['', '', '', '', 'external', 'virtual', *(['switch'] if self.release != '25.03' else [])]) if n else '',
                                  dhcpv4_options=Ref(random.choice(self.dhcp4)) if self.maybe(0.4) else None,
                                  dhcpv6_options=Ref(random.choice(self.dhcp6)) if self.maybe(0.4) else None))
        if self.maybe(0.4):
            ports.append(self.add('Logical_Switch_Port', f'{name}_ln', name=f'{name}-ln', type='localnet', addresses=Set('unknown'), options={'network_name': 'phys'}))
        for n in range(random.choice([0, 1, 1, 2])):
            options = {'router-port': f'lr-{name}-{n}'} if self.maybe(0.8) else {}
            if self.maybe(0.4):
                options['enable_router_port_acl'] = random.choice(['true', 'True', 'false'])
            ports.append(self.add('Logical_Switch_Port', f'{name}_r{n}', name=f'{name}-r{n}', type='router', addresses=Set('router'), options=options))
        config = {}
        if self.maybe(0.1):
            config['dhcp_relay_port'] = f'{name}-r0'
        if self.release != '25.03':
            if self.maybe(0.2):
                config['enable-stateless-acl-with-lb'] = 'true'
            if self.maybe(0.2):
                config['dynamic-routing-vni'] = random.choice(['0', '77', '16777216', 'x'])
        return self.add('Logical_Switch', name, name=name, ports=Set(*map(Ref, ports)), other_config=config,
                        load_balancer=Set(*map(Ref, random.sample(self.balancers, random.choice([0, 0, 0, 1, 2])))),
                        load_balancer_group=Set(*map(Ref, random.sample(['lbg_some', 'lbg_none'], random.choice([0, 0, 0, 1, 2])))),
                        dns_records=Set(*map(Ref, random.sample(self.dns, random.choice([0, 0, 1, 2])))),
                        copp=Ref(random.choice(self.copps)) if self.maybe(0.5) else None)

    def make_router(self):
        """One router and its ports; some are not what the switch's port says."""
        routers = collections.defaultdict(list)
        of_gateway = self.maybe(0.2)
        for number, switch in enumerate(self.switches):
            for n in range(2):
                if f'{switch}_r{n}' not in self.rows['Logical_Switch_Port'] or self.maybe(0.1):
                    continue
                gateway = Set()
                if self.maybe(0.5):
                    chassis = self.add('Gateway_Chassis', f'gw_{switch}_{n}', name=f'gw-{switch}-{n}', chassis_name='hv1', priority=1)
                    gateway = Set(Ref(chassis))
                port = self.add('Logical_Router_Port', f'lr_{switch}_{n}', name=f'lr-{switch}-{n}', mac=f'0c:00:00:00:0{number}:0{n}',
                                networks=Set(f'10.{n}.{number}.254/16') if self.maybe(0.9) else Set(), gateway_chassis=gateway,
                                peer='nobody' if self.maybe(0.1) else None)
                routers[self.random.choice(['lr', 'lr', 'lr', 'lr_off'])].append(port)
        for name, ports in routers.items():
            self.add('Logical_Router', name, name=name, ports=Set(*map(Ref, ports)), enabled=False if name == 'lr_off' else None,
                     options={'chassis': 'hv1'} if of_gateway else {})

    def make_functions(self):
        """Network functions and mirrors, from OVN 25.09."""
        ports = [name for name, row in self.rows['Logical_Switch_Port'].items() if not row['type']]
        functions = [None] * 3
        for number in range(self.random.randint(0, 2) if len(ports) > 1 else 0):
            into, out = self.random.sample(ports, 2)
            function = self.add('Network_Function', f'nf{number}', name=f'nf{number}', id=number + 1, inport=Ref(into), outport=Ref(out))
            functions.append(self.add('Network_Function_Group', f'nfg{number}', name=f'nfg{number}', mode='inline', id=number + 7, network_function=Set(Ref(function))))
        for number in range(self.random.randint(0, 1)):
            sink = self.random.choice([self.rows['Logical_Switch_Port'][ports[0]]['name'], 'nobody'])
            mirror = self.add('Mirror', f'mirror{number}', name=f'mirror{number}', type='lport', sink=sink, filter='both', index=0)
            self.rows['Logical_Switch_Port'][ports[-1]]['mirror_rules'] = Set(Ref(mirror))
        return functions

    def make_group(self, number):
        ports = list(self.rows['Logical_Switch_Port'])
        members = self.random.sample(ports, min(len(ports), self.random.choice([0, 1, 2, 3, 4])))
        return self.add('Port_Group', f'pg{number}', name=f'pg{number}', ports=Set(*map(Ref, members)))

    # --- ACLs

    def make_acls(self, count):
        random = self.random
        self.usual_actions = random.choice([ACTIONS, ACTIONS, ['allow', 'drop', 'pass', 'reject', 'allow-stateless'], ['allow-stateless', 'drop']])
        self.usual_tiers = random.choice([[0], [0, 1, 2, 3], [0, 1, 2, 3], [0, 3], [2]])
        held = {name: [] for name in (*self.switches, *self.groups)}
        self.held = {}
        for number in range(count):
            acl = self.make_acl(number)
            holders = random.sample(list(held), 2 if self.maybe(0.1) and len(held) > 1 else 1)
            self.held[acl] = holders
            for holder in holders:
                held[holder].append(Ref(acl))
        for holder, acls in held.items():
            self.rows['Logical_Switch' if holder in self.switches else 'Port_Group'][holder]['acls'] = Set(*acls)

    def make_acl(self, number):
        random = self.random
        block = random.choice(BLOCKS)
        log = random.choice(LOGS)
        options = {'apply-after-lb': 'true'} if block == 'after-lb' else {}
        if block != 'after-lb' and self.maybe(0.1):
            options['apply-after-lb'] = 'false' if block == 'from-lport' else 'true'  # of no effect
        if self.maybe(0.5):
            options['log-related'] = random.choice(['true', 'TRUE', 'false'])
        if self.maybe(0.2):
            options['persist-established'] = random.choice(['true', 'true', 'false'])
        if number and self.maybe(0.05):  # the same again
            return self.add('ACL', f'acl{number}', **self.rows['ACL'][f'acl{random.randrange(number)}'])
        return self.add('ACL', f'acl{number}', name=random.choice([None, f'acl-{number}', 'same']), direction='to-lport' if block == 'to-lport' else 'from-lport',
                        priority=random.choice([0, 1000, 1001, 2000, 32767]), tier=random.choice(self.usual_tiers), match=self.match(block),
                        action=random.choice(self.usual_actions), log=log != 'no', severity=random.choice([None, 'alert', 'info', 'debug']),
                        meter={'no': None, 'plain': None, 'meter': random.choice(['plain', 'unsaid']), 'fair': 'fair', 'missing': 'nobodys'}[log],
                        label=random.choice([0, 0, random.choice([7, (1 << 32) - 1, random.randrange(1, 1 << 32)])]), options=options,
                        sample_new=self.sample(), sample_est=self.sample(), network_function_group=self.function())

    def function(self):
        group = self.random.choice(self.functions)
        return group and Ref(group)

    def match(self, block):
        random = self.random
        port, other = ('outport', 'src') if block == 'to-lport' else ('inport', 'dst')
        group = random.choice(self.groups)
        where = random.choice([f'{port} == @{group}', f'{port} == {{@{group}}}', f'{port} == {json.dumps(random.choice(self.plain_ports()))}', None])
        what = random.choice([f'ip4.{other} == $as4', f'ip6.{other} == $as6', f'ip4.{other} == ${group}_ip4', f'ip6.{other} == ${group}_ip6', 'ip4 && tcp.dst == 80',
                              'ip6 && udp.dst == {53, 5353}', f'ip4.{other} == 10.0.0.0/16 && tcp', 'icmp4', 'icmp6', 'ip4 && sctp.dst == 1024', 'ip', 'arp', 'tcp || udp'])
        return ' && '.join(filter(None, [where, f'({what})' if '||' in what else what]))

    def plain_ports(self):
        return [port['name'] for port in self.rows['Logical_Switch_Port'].values() if not port['type']]

    def sample(self):
        random = self.random
        collectors = {'none': [None], 'one': [1, 1, None], 'several': [0, random.choice([2, 3]), None], 'mixed': [0, 1, random.choice([2, 3]), None]}[self.variant]
        count = random.choice(collectors)
        if count is None:
            return None
        old = list(self.rows['Sample'])
        if old and self.maybe(0.1):
            return Ref(random.choice(old))
        collectors = random.sample(self.collectors[:2] if count == 1 else self.collectors, count)
        return Ref(self.add('Sample', f'sample{len(old)}', metadata=next(self.points), collectors=Set(*map(Ref, collectors))))

    # --- what is in it

    def on_switch(self, switch):
        """The names of the ACLs at work on a switch."""
        ports = set(self.rows['Logical_Switch'][switch]['ports'])
        groups = [group for group in self.groups if ports & set(self.rows['Port_Group'][group]['ports'])]
        acls = [acl for holder in (switch, *groups) for acl in self.rows[('Logical_Switch' if holder == switch else 'Port_Group')][holder]['acls']]
        return sorted({acl.name for acl in acls})

    def has_vip(self, switch):
        row = self.rows['Logical_Switch'][switch]
        groups = (self.rows['Load_Balancer_Group'][group.name] for group in row['load_balancer_group'])
        balancers = [*row['load_balancer'], *(balancer for group in groups for balancer in group['load_balancer'])]
        return any(self.rows['Load_Balancer'][balancer.name].get('vips') for balancer in balancers)

    def kind_of_sample(self, reference):
        if reference is None:
            return 'none'
        return {0: 'zero', 1: 'one'}.get(len(self.rows['Sample'][reference.name]['collectors']), 'several')

    def cells(self):
        """What this exercises, once for each switch on which it does."""
        for switch in self.switches:
            acls = self.on_switch(switch)
            rows = [self.rows['ACL'][acl] for acl in acls]
            vip = '+lb' if self.has_vip(switch) else ''
            state = f'{"stateful" if any(row["action"] == "allow-related" for row in rows) else "stateless" if acls else "no acls"}{vip}'
            yield 'default', (self.options.get('default_acl_drop', 'false').lower(), state)
            for option in 'use_ct_inv_match', 'debug_drop_collector_set', 'debug_drop_domain_id':
                yield option, (self.options.get(option, 'unset'), bool(acls))
            columns = self.rows['Logical_Switch'][switch]
            yield 'dns', (state, 'dns_some' in [dns.name for dns in columns['dns_records']])
            yield 'copp', (columns['copp'].name if 'copp' in columns else 'none', bool(acls))
            for port in columns['ports']:
                row = self.rows['Logical_Switch_Port'][port.name]
                if row['type'] == 'router':
                    peer = self.rows['Logical_Router_Port'].get(row['options'].get('router-port', '').replace('-', '_'))
                    joined = 'gateway' if peer and peer['gateway_chassis'] else 'peer' if peer else 'no peer'
                    yield 'router port', (row['options'].get('enable_router_port_acl', 'unset').lower(), joined, state.startswith('stateful'))
                else:
                    yield 'port', (row['type'], state)
                    for family in '46':
                        dhcp = row.get(f'dhcpv{family}_options')
                        yield f'dhcp{family}', (dhcp.name if dhcp else 'none',)
            for name, row in zip(acls, rows):
                block = 'after-lb' if row['direction'] == 'from-lport' and row['options'].get('apply-after-lb') == 'true' else row['direction']
                action, label = row['action'], 'label' if row['label'] else 'no label'
                log = {None: 'plain', 'plain': 'meter', 'unsaid': 'meter', 'fair': 'fair', 'nobodys': 'missing'}[row.get('meter')] if row['log'] else 'no'
                new, est = (self.kind_of_sample(row.get(column)) for column in ('sample_new', 'sample_est'))
                on = 'both' if len(self.held[name]) > 1 else 'group' if self.held[name][0] in self.groups else 'switch'
                yield 'tier', (action, block, row['tier'], state)
                yield 'sample', (action, block, new, est)
                yield 'sampled state', (action, new, est, state.removesuffix('+lb'))
                yield 'sampled label', (block, new, est, label)
                yield 'log', (action, log, label, row.get('severity', 'unset'))
                yield 'on', (action, block, on)
                yield 'family', (action, block, 'ip6' if 'ip6' in row['match'] else 'ip4' if 'ip4' in row['match'] else 'any')
                yield 'log-related', (block, action, row['options'].get('log-related', 'unset').lower(), 'log, label' if log != 'no' and row['label'] else 'not both')
                yield 'persist', (action, row['options'].get('persist-established', 'unset'), state)
            if acls and self.variant != 'none':
                yield 'apps', (self.variant, *(any(app['type'] == kind for app in self.rows['Sampling_App'].values()) for kind in ('drop', 'acl-new', 'acl-est')))


def unreachable(what, cell):
    """Whether there is no such thing: an allow-related ACL makes a switch stateful, and one without ACLs has none of any kind."""
    if what not in ('tier', 'sampled state', 'persist'):
        return False
    return cell[-1].startswith('no acls') or 'allow-related' in cell and cell[-1].startswith('stateless')


class Ref:
    """A row, by its name."""

    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return self.name == other.name

    def __hash__(self):
        return hash(self.name)


class Set(tuple):
    def __new__(cls, *members):
        return tuple.__new__(cls, members)


def ovsdb(value):
    """A value as OVSDB has it in JSON."""
    if isinstance(value, Ref):
        return ['named-uuid', value.name]
    if isinstance(value, Set):
        return ['set', [ovsdb(member) for member in dict.fromkeys(value)]]
    if isinstance(value, dict):
        return ['map', sorted(value.items())]
    return value
