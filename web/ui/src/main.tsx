// Where the page begins: style sheets in their order, then language, queries, theme, and the routes.
import '@fontsource-variable/inter/index.css';
import './theme/mantine';
import './theme/ice.css';
import { createRoot } from 'react-dom/client';
import { start } from './i18n/language';
import { Page } from './app/Page';

const root = document.getElementById('root');
if (root) {
  void start().then(() => createRoot(root).render(<Page />));
}
