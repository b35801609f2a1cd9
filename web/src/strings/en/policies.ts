export default {
  title: 'Policies',
};
