export default {
  title: 'Explain',
  field: { from: 'From', to: 'To', port: 'Port' },
  example: { from: 'shop/web-0', to: 'svc/data/search', port: '9200/tcp' },
  swap: 'Swap the ends',
  ask: 'Explain',
  hint: 'An end is namespace/pod, svc/namespace/name, node/name or an address, with @network where there are several. Without a port all ports of the service or pod are asked.',
  empty: {
    title: 'Who wants to reach whom?',
    hint: 'Name two ends and a port. A packet is sent through a twin of the network, which does what OVN would do with the policies of now; nothing is sent in the cluster.',
  },
  unknown: {
    title: 'Cannot know',
    hint: 'What the server was given does not tell. Correct the name, or give the server what is missing, such as the database of another zone.',
  },
};
