// Icecore's look where Mantine draws: deep ice for what can be pressed, small radii, tight headings. What is ours alone is in ice.css.
import { createTheme, type MantineColorsTuple } from '@mantine/core';

const ice: MantineColorsTuple = [
  '#eef7fb', '#dcedf5', '#b9dbea', '#92c6de', '#6cb2d1', '#4a9cc1', '#3188b0', '#1f6f97', '#165a7d', '#0d4260',
];
/** Surfaces and text of the dark scheme: the dark of an ice core's drill hole, not grey. */
const dark: MantineColorsTuple = [
  '#e4eef4', '#c5d5df', '#a3b7c4', '#7f95a4', '#3f5766', '#2a3f4d', '#1b2d39', '#13212b', '#0c161d', '#081016',
];

export const theme = createTheme({
  primaryColor: 'ice',
  // White on it has a contrast of 5.5:1, in both schemes.
  primaryShade: 7,
  colors: { ice, dark },
  black: '#12212c',
  fontFamily: "'Inter Variable', ui-sans-serif, system-ui, 'Segoe UI', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'Cascadia Mono', 'JetBrains Mono', Menlo, Consolas, monospace",
  headings: { fontFamily: "'Inter Variable', ui-sans-serif, system-ui, sans-serif", fontWeight: '620' },
  defaultRadius: 'sm',
  radius: { xs: '3px', sm: '5px', md: '8px', lg: '12px', xl: '20px' },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    // These would write <style> elements for the page's scroll bar, which the Content-Security-Policy forbids.
    Modal: { defaultProps: { lockScroll: false, centered: true, overlayProps: { backgroundOpacity: 0.45 } } },
    Drawer: { defaultProps: { lockScroll: false } },
    Popover: { defaultProps: { shadow: 'md', withinPortal: true } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 250 } },
  },
});
