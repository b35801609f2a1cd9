import {
  Button,
  Divider,
  Dropdown,
  DropdownGroup,
  DropdownItem,
  DropdownList,
  MenuToggle,
} from '@patternfly/react-core';
import { ColumnsIcon } from '@patternfly/react-icons';
import { memo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ColumnsForm } from './ColumnsForm';
import { isSize, SIZES, type Size } from './sizes';
import type { Display } from './useDisplay';

/** Row size, histogram, columns. */
export const DisplayOptions = memo(function DisplayOptions({ display }: { display: Display }) {
  const { t } = useTranslation('traffic');
  const [open, setOpen] = useState(false);
  const [columns, setColumns] = useState(false);
  return (
    <>
      <Dropdown
        isOpen={open}
        onOpenChange={setOpen}
        onSelect={(_, value) => {
          const choice = String(value);
          if (isSize(choice)) display.setSize(choice);
          else display.setHistogram(!display.histogram);
        }}
        toggle={(ref) => (
          <MenuToggle ref={ref} size="sm" isExpanded={open} onClick={() => setOpen(!open)}>
            {t('display.title')}
          </MenuToggle>
        )}
      >
        <DropdownGroup label={t('display.size')}>
          <DropdownList>
            {(Object.keys(SIZES) as Size[]).map((size) => (
              <DropdownItem key={size} value={size} isSelected={display.size === size}>
                {t(`display.sizes.${size}`)}
              </DropdownItem>
            ))}
          </DropdownList>
        </DropdownGroup>
        <Divider />
        <DropdownList>
          <DropdownItem value="histogram" isSelected={display.histogram}>
            {t('display.histogram')}
          </DropdownItem>
        </DropdownList>
      </Dropdown>
      <Button variant="secondary" size="sm" icon={<ColumnsIcon />} onClick={() => setColumns(true)}>
        {t('columns.title')}
      </Button>
      {columns && (
        <ColumnsForm
          chosen={display.columns.map(({ id }) => id)}
          onChoose={display.setColumns}
          onClose={() => setColumns(false)}
        />
      )}
    </>
  );
});
