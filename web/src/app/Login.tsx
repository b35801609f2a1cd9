import { Alert, Bullseye, Button, Card, CardBody, CardTitle, Form, FormGroup, TextInput } from '@patternfly/react-core';
import { useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';

/** Asks for a token. `wrong` says that the server refused one already. */
export function Login({ wrong, onEnter }: { wrong: boolean; onEnter: (token: string) => void }) {
  const { t } = useTranslation();
  const [value, setValue] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onEnter(value.trim());
  };
  return (
    <Bullseye className="nv-login">
      <Card component="main">
        <CardTitle component="h1">{t('login.title')}</CardTitle>
        <CardBody>
          <Form onSubmit={submit}>
            {wrong && <Alert isInline variant="danger" title={t('login.wrong')} />}
            <p>{t('login.hint')}</p>
            <FormGroup label={t('login.token')} fieldId="token">
              <TextInput
                id="token"
                type="password"
                autoComplete="off"
                autoFocus
                value={value}
                onChange={(_, value) => setValue(value)}
              />
            </FormGroup>
            <Button type="submit" isDisabled={!value.trim()}>
              {t('login.enter')}
            </Button>
          </Form>
        </CardBody>
      </Card>
    </Bullseye>
  );
}
