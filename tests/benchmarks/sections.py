"""Commands of several sections: each part of one names its SECTIONS, COLUMNS and cases_of(seed)."""

from tests.benchmarks.records import cell, grouped, mean, table

MOST_DIGITS = 6


def of_parts(parts, name):
    """The entries of all parts' dicts of a name, in one."""
    return {key: value for part in parts for key, value in getattr(part, name).items()}


def section_cases(parts, seeds, options):
    """All cases that were asked for; of a quick run the first of each section."""
    begun = set()
    for seed in options.seeds or (seeds[:1] if options.quick else seeds):
        for case in (case for part in parts for case in part.cases_of(seed)):
            section = case["section"]
            if options.sections and section not in options.sections:
                continue
            if options.models and case["model"] not in options.models:
                continue
            if options.quick and section in begun:
                continue
            begun.add(section)
            yield {**case, "seed": seed}


def _figure(value, digits):
    """A number as text; of errors of rounding the order of magnitude."""
    return f"{value:.0e}" if digits > MOST_DIGITS else cell(value, digits)


def section_tables(found, columns, keys, titles):
    """A table for each section, of means over seeds.

    Parameters
    ----------
    found : list of dict
        Records, each with its section.
    columns : dict
        ``{section: {figure: digits}}``; a figure that a record lacks is shown as "-".
    keys : sequence of str
        What a row is about, where records have it.
    titles : dict
        Heads of columns that are not the name of the figure.
    """
    parts = []
    for (section,), group in grouped(found, "section", order={"section": columns}).items():
        own_keys = [key for key in keys if any(key in record for record in group)]
        rows = []
        for values, own in grouped(group, *own_keys).items():
            filled = [{**dict.fromkeys(columns[section]), **record} for record in own]
            figures = [_figure(mean(filled, k), digits) for k, digits in columns[section].items()]
            rows.append([*map(str, values), *figures, str(len(own))])
        heads = (titles.get(key, key.replace("_", " ")) for key in columns[section])
        head = [*own_keys, *heads, "seeds"]
        parts.append(f"### {section}\n\n{table(head, rows)}")
    return "\n\n".join(parts)
