import {
  Alert,
  AlertActionCloseButton,
  AlertGroup,
  Dropdown,
  DropdownItem,
  DropdownList,
  MenuToggle,
} from '@patternfly/react-core';
import { DownloadIcon } from '@patternfly/react-icons';
import { useMutation } from '@tanstack/react-query';
import { memo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { asProblem, ProblemError, useApi } from '../../api/client';
import { useRange } from '../../state/range';
import { join, parse } from './query';

const FORMATS = ['csv', 'jsonl', 'parquet'] as const;
type Format = (typeof FORMATS)[number];

/** All that match, as a file. */
export const ExportMenu = memo(function ExportMenu({ q }: { q: string }) {
  const { t } = useTranslation('traffic');
  const { server } = useApi();
  const [range] = useRange();
  const [open, setOpen] = useState(false);
  const file = useMutation({
    mutationFn: async (format: Format) => {
      const params = new URLSearchParams({ q: join({ ...parse(q), tail: '' }), ...range, format });
      const response = await server.fetch(`${server.base}/api/v1/export?${params}`);
      if (!response.ok) throw new ProblemError(asProblem(await response.json().catch(() => undefined), response));
      save(await response.blob(), `netverdict-${new Date().toISOString().replace(/[:.]/g, '-')}.${format}`);
    },
  });
  return (
    <>
      <Dropdown
        isOpen={open}
        onOpenChange={setOpen}
        onSelect={(_, format) => {
          setOpen(false);
          file.mutate(format as Format);
        }}
        popperProps={{ position: 'right' }}
        toggle={(ref) => (
          <MenuToggle
            ref={ref}
            size="sm"
            icon={<DownloadIcon />}
            isDisabled={file.isPending}
            isExpanded={open}
            onClick={() => setOpen(!open)}
          >
            {t(file.isPending ? 'export.pending' : 'export.title')}
          </MenuToggle>
        )}
      >
        <DropdownList>
          {FORMATS.map((format) => (
            <DropdownItem key={format} value={format} description={t(`export.about.${format}`)}>
              {t(`export.${format}`)}
            </DropdownItem>
          ))}
        </DropdownList>
      </Dropdown>
      {file.error && (
        <AlertGroup isToast isLiveRegion>
          <Alert
            variant="danger"
            title={t('export.failed')}
            actionClose={<AlertActionCloseButton onClose={() => file.reset()} />}
          >
            {file.error.message}
          </Alert>
        </AlertGroup>
      )}
    </>
  );
});

function save(blob: Blob, name: string) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
