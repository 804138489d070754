// What a plan keeps, in one sentence.
import { useTranslation } from 'react-i18next';
import { hasRule, PERIODS, type Keep } from '../logic/keep';

export function useKeepWords(): (keep: Partial<Keep>) => string {
  const { t, i18n } = useTranslation();
  return (given) => {
    const keep = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, quarterly: 0, yearly: 0, minimum: 0, ...given };
    if (!hasRule(keep)) return t('keep.all');
    const parts = PERIODS.filter((period) => keep[period] > 0).map((period) => t(`keep.${period}Words`, { count: keep[period] }));
    if (keep.last > 0) parts.unshift(t('keep.lastWords', { count: keep.last }));
    if (keep.within) parts.push(t('keep.withinWords', { span: keep.within }));
    return t('keep.words', { list: new Intl.ListFormat(i18n.language, { type: 'conjunction' }).format(parts) });
  };
}
