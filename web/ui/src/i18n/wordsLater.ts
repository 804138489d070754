// The texts of all screens but the first come with the first of these, so that the first load is smaller. Other languages come whole.
import i18next from 'i18next';
import { enLater } from './enLater';

i18next.addResourceBundle('en', 'translation', enLater, true, true);
