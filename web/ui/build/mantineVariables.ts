// Mantine writes its theme's variables into a <style> element when the page starts. Our Content-Security-Policy allows no such
// element, so they become a style sheet here, when the page is built: `import 'virtual:mantine-variables.css'`.
import { convertCssVariables, defaultCssVariablesResolver, mergeMantineTheme, DEFAULT_THEME } from '@mantine/core';
import type { Plugin } from 'vite';
import { theme } from '../src/theme/theme.ts';

const NAME = 'virtual:mantine-variables.css';
const RESOLVED = `\0${NAME}`;

/** The variables of our theme as CSS. */
export function variablesCss(): string {
  const merged = mergeMantineTheme(DEFAULT_THEME, theme);
  const scheme = { variables: {}, light: { '--mantine-color-scheme': 'light' }, dark: { '--mantine-color-scheme': 'dark' } };
  return `${convertCssVariables(scheme, ':root')}\n${convertCssVariables(defaultCssVariablesResolver(merged), ':root')}\n`;
}

export function mantineVariables(): Plugin {
  return {
    name: 'icecore-mantine-variables',
    resolveId: (id) => (id === NAME ? RESOLVED : undefined),
    load: (id) => (id === RESOLVED ? variablesCss() : undefined),
  };
}
