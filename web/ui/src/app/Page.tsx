// Everything round the screens: theme, queries, messages, who is logged in, and which screen a URL is.
import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { lazy, Suspense } from 'react';
import { BrowserRouter, Navigate, Route, Routes } from 'react-router';
import { asFailure, OFFLINE } from '../api/failure';
import { Loading } from '../parts/states';
import { Toasts } from '../parts/toasts';
import { theme } from '../theme/theme';
import { Gate } from './Gate';
import { Shell } from './Shell';

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // Events say when something is out of date; a window that comes back asks once more.
      staleTime: 30_000,
      retry: (count, error) => asFailure(error).code === OFFLINE && count < 3,
    },
  },
});

const Overview = lazy(() => import('../screens/Overview'));
const Machines = lazy(() => import('../screens/Machines'));
const Machine = lazy(() => import('../screens/Machine'));
const Enrol = lazy(() => import('../screens/Enrol'));
const Plans = lazy(() => import('../screens/Plans'));
const PlanEditor = lazy(() => import('../screens/PlanEditor'));
const PlanScreen = lazy(() => import('../screens/Plan'));
const Points = lazy(() => import('../screens/Points'));
const PointScreen = lazy(() => import('../screens/Point'));
const Files = lazy(() => import('../screens/Files'));
const Restore = lazy(() => import('../screens/Restore'));
const Jobs = lazy(() => import('../screens/Jobs'));
const JobScreen = lazy(() => import('../screens/Job'));
const Repositories = lazy(() => import('../screens/Repositories'));
const Alerts = lazy(() => import('../screens/Alerts'));
const Security = lazy(() => import('../screens/Security'));
const Settings = lazy(() => import('../screens/Settings'));
const Account = lazy(() => import('../screens/Account'));
const Explorer = lazy(() => import('../screens/Explorer'));
const LogInLink = lazy(() => import('../screens/LogInLink'));
const Nowhere = lazy(() => import('../screens/Nowhere'));

export function Page() {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto" withCssVariables={false} withGlobalClasses={false}>
      <QueryClientProvider client={queries}>
        <Toasts>
          <BrowserRouter>
            <Suspense fallback={<Loading />}>
              <Routes>
                <Route path="first/log-in" element={<LogInLink isFirst />} />
                <Route path="log-in" element={<LogInLink />} />
                <Route element={<Gate />}>
                  <Route element={<Shell />}>
                    <Route index element={<Overview />} />
                    <Route path="machines" element={<Machines />} />
                    <Route path="machines/enrol" element={<Enrol />} />
                    <Route path="machines/:id" element={<Machine />} />
                    <Route path="plans" element={<Plans />} />
                    <Route path="plans/new" element={<PlanEditor />} />
                    <Route path="plans/:id" element={<PlanScreen />} />
                    <Route path="plans/:id/edit" element={<PlanEditor />} />
                    <Route path="points" element={<Points />} />
                    <Route path="points/:id" element={<PointScreen />} />
                    <Route path="points/:id/files" element={<Files />} />
                    <Route path="restore" element={<Restore />} />
                    <Route path="jobs" element={<Jobs />} />
                    <Route path="jobs/:id" element={<JobScreen />} />
                    <Route path="repositories" element={<Repositories />} />
                    <Route path="alerts" element={<Alerts />} />
                    <Route path="security" element={<Navigate to="people" replace />} />
                    <Route path="security/:part" element={<Security />} />
                    <Route path="settings" element={<Settings />} />
                    <Route path="account" element={<Account />} />
                    <Route path="api" element={<Explorer />} />
                    <Route path="*" element={<Nowhere />} />
                  </Route>
                </Route>
              </Routes>
            </Suspense>
          </BrowserRouter>
        </Toasts>
      </QueryClientProvider>
    </MantineProvider>
  );
}
