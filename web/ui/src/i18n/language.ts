// The page's languages. English is a part of the page, others come when they are wanted.
import i18next from 'i18next';
import { initReactI18next } from 'react-i18next';
import { en } from './en';

export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof LANGUAGES;
const KEPT = 'icecore.language';

function isLanguage(text: string | null | undefined): text is Language {
  return text !== null && text !== undefined && text in LANGUAGES;
}

function wanted(): Language {
  const kept = localStorage.getItem(KEPT);
  if (isLanguage(kept)) return kept;
  const first = navigator.languages.map((tag) => tag.slice(0, 2)).find(isLanguage);
  return first ?? 'en';
}

async function load(language: Language) {
  if (language === 'de' && !i18next.hasResourceBundle('de', 'translation')) {
    i18next.addResourceBundle('de', 'translation', (await import('./de')).de);
  }
}

export async function start() {
  await i18next.use(initReactI18next).init({
    lng: 'en',
    fallbackLng: 'en',
    resources: { en: { translation: en } },
    // React escapes by itself.
    interpolation: { escapeValue: false },
  });
  await speak(wanted());
}

export async function speak(language: Language) {
  await load(language);
  localStorage.setItem(KEPT, language);
  document.documentElement.lang = language;
  // With the reader's region where the browser names one, for dates and numbers; the texts are the language's.
  await i18next.changeLanguage(navigator.languages.find((tag) => tag.startsWith(`${language}-`)) ?? language);
}

/** Whether the page speaks a language now. */
export function isSpoken(language: Language): boolean {
  return i18next.language.slice(0, 2) === language;
}
