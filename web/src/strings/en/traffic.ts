export default {
  title: 'Traffic',
};
