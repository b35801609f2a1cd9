export default {
  title: 'Topology',
};
