import { useTranslation } from 'react-i18next';

/** A place that counts: one of the server's own in words, a source as it was configured. */
export function Place({ name }: { name: string }) {
  const { t, i18n } = useTranslation('health');
  const key = `place.${name}`;
  if (/^[a-z]+$/.test(name) && i18n.exists(key, { ns: 'health' })) return t(key);
  return <code className="nv-source">{name}</code>;
}
