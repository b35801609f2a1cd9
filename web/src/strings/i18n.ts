import i18next from 'i18next';
import { initReactI18next } from 'react-i18next';
import en from './en';

/** All that is said to a user, by page. Another language is another file beside `en`. */
void i18next.use(initReactI18next).init({
  lng: 'en',
  fallbackLng: 'en',
  resources: { en },
  ns: Object.keys(en),
  defaultNS: 'common',
  interpolation: { escapeValue: false },
  showSupportNotice: false,
} as Parameters<typeof i18next.init>[0]);

export default i18next;
