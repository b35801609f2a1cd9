"""Writes objects as manifests: YAML in the styles people use, or JSON."""
import json
import re

PLAIN = re.compile(r'[A-Za-z_][A-Za-z0-9_./-]*\Z')
WORDS_OF_YAML = {'y', 'n', 'yes', 'no', 'on', 'off', 'true', 'false', 'null'}


def write(objects, random):
    """The text of a manifest. How it is written is left to chance, what it says is not."""
    style = random.choices(('documents', 'list', 'json', 'json list'), (6, 2, 1, 1))[0]
    listed = {'apiVersion': 'v1', 'kind': 'List', 'items': objects}
    if style == 'json list':
        return json.dumps(listed, indent=random.choice((None, 2))) + '\n'
    if style == 'json':
        return '\n---\n'.join(json.dumps(o) for o in objects) + '\n'
    documents = [listed] if style == 'list' else objects
    return '---\n'.join('\n'.join(block(d, random)) + '\n' for d in documents)


def block(value, random):
    """The lines of a value in block style, parts of it now and then in flow style."""
    lines = []
    indent = random.choice(('', '  '))  # both are right for a list below a key
    for item in value if isinstance(value, list) else value.items():
        head, item = ('-', item) if isinstance(value, list) else (f'{scalar(item[0], random)}:', item[1])
        if not isinstance(item, (dict, list)) or not item or random.random() < .15:
            lines.append(f'{head} {flow(item, random)}')
        elif head == '-':
            inner = block(item, random)
            lines += [f'- {inner[0]}', *(f'  {line}' for line in inner[1:])]
        else:
            lines += [head, *((indent if isinstance(item, list) else '  ') + line for line in block(item, random))]
    return lines


def flow(value, random):
    if isinstance(value, dict):
        return '{' + ', '.join(f'{scalar(k, random)}: {flow(v, random)}' for k, v in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ', '.join(flow(v, random) for v in value) + ']'
    return scalar(value, random)


def scalar(value, random):
    if not isinstance(value, str):
        return json.dumps(value)
    if PLAIN.match(value) and value.lower() not in WORDS_OF_YAML and random.random() < .8:
        return value
    return json.dumps(value) if "'" in value or random.random() < .5 else f"'{value}'"


class Plain:
    """Chance that always takes the plain way."""
    choice = staticmethod(lambda items: items[0])
    random = staticmethod(lambda: .5)
    choices = staticmethod(lambda items, weights: [items[0]])


def write_plain(objects):
    """The same, always in the same plain style, for people to read."""
    return write(objects, Plain)
