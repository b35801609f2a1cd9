import { cleanup } from '@testing-library/react';
import { afterEach } from 'vitest';
import '../strings/i18n';

afterEach(cleanup);
