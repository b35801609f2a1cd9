export default {
  title: 'Explain',
};
