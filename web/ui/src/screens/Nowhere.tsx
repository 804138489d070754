// A URL that is no screen.
import { Button } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { Screen, Sheet } from '../parts/Screen';
import { Empty } from '../parts/states';

export default function Nowhere() {
  const { t } = useTranslation();
  return (
    <Screen title={t('nowhere.title')}>
      <Sheet>
        <Empty title={t('nowhere.what')} action={<Button component={Link} to="/">{t('nowhere.next')}</Button>} />
      </Sheet>
    </Screen>
  );
}
