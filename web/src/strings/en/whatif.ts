export default {
  title: 'What if',
};
