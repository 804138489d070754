// When a plan runs, in words.
import { useTranslation } from 'react-i18next';
import { rhythmOf } from '../logic/schedule';

/** Short names of the days, Sunday first as in cron. */
export function weekdayNames(language: string, width: 'short' | 'long' = 'short'): string[] {
  const format = new Intl.DateTimeFormat(language, { weekday: width, timeZone: 'UTC' });
  // 4 January 1970 was a Sunday.
  return Array.from({ length: 7 }, (_, day) => format.format(new Date(Date.UTC(1970, 0, 4 + day))));
}

export function useRhythmWords(): (cron: string | null | undefined, zone: string | undefined) => string {
  const { t, i18n } = useTranslation();
  return (cron, zone) => {
    const rhythm = rhythmOf(cron);
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const where = zone && zone !== own && rhythm.kind !== 'asked' ? ` (${zone})` : '';
    if (rhythm.kind === 'asked') return t('rhythm.asked');
    if (rhythm.kind === 'hours') return t('rhythm.hours', { count: rhythm.every, minute: String(rhythm.minute).padStart(2, '0') }) + where;
    if (rhythm.kind === 'daily') return t('rhythm.daily', { at: rhythm.at }) + where;
    if (rhythm.kind === 'cron') return rhythm.cron + where;
    const names = weekdayNames(i18n.language);
    return t('rhythm.weekly', { days: rhythm.days.map((day) => names[day]).join(', '), at: rhythm.at }) + where;
  };
}
