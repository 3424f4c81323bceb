// The top of a page: title, tags, variables and time range, in the manner of Grafana's controls.
import { dateTimeFormat } from '@grafana/data';
import { Icon, Tag, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';
import { Page } from './data';
import { describeMinutes } from './time';

export function Header({ page, minutes }: { page: Page; minutes: number }) {
    const styles = useStyles2(getStyles);
    const { dashboard, variables, range } = page;
    const time = (t: number) =>
        dateTimeFormat(t, { timeZone: 'utc', format: 'YYYY-MM-DD HH:mm:ss' });
    const toggles = (dashboard.annotations?.list ?? []).filter((a) => a.enable && !a.builtIn);
    return (
        <header className={styles.header}>
            <div className={styles.line}>
                <h1 className={styles.title}>{dashboard.title}</h1>
                {(dashboard.tags ?? []).map((tag) => (
                    <Tag key={tag} name={tag} />
                ))}
                <div className={styles.rest} />
                {(dashboard.links ?? []).map((link) => (
                    <span key={link.title} className={styles.box}>
                        <Icon name={link.asDropdown ? 'bars' : 'external-link-alt'} /> {link.title}
                    </span>
                ))}
            </div>
            <div className={styles.line}>
                {variables.list
                    .filter((v) => !v.hidden)
                    .map((v) => (
                        <span key={v.name} className={styles.pair}>
                            <span className={styles.label}>{v.label}</span>
                            <span className={styles.box}>
                                {v.all ? 'All' : v.values.join(' + ') || 'none'}
                                {v.options.length > 1 && <Icon name="angle-down" />}
                            </span>
                        </span>
                    ))}
                {toggles.map((a) => (
                    <span key={a.name} className={styles.toggle}>
                        <i
                            style={{
                                background: page.theme.visualization.getColorByName(a.iconColor),
                            }}
                        />{' '}
                        {a.name}
                    </span>
                ))}
                <div className={styles.rest} />
                <span className={styles.box}>
                    <Icon name="clock-nine" /> {describeMinutes(minutes)}
                    <span className={styles.faint}>
                        {time(range.from.valueOf())} to {time(range.to.valueOf())} UTC
                    </span>
                </span>
            </div>
        </header>
    );
}

export function Footer() {
    const styles = useStyles2(getStyles);
    return (
        <footer className={styles.footer}>
            rendered with Grafana's UI library, not a Grafana server
        </footer>
    );
}

const getStyles = (theme: Page['theme']) => ({
    header: css({
        display: 'flex',
        flexDirection: 'column',
        gap: theme.spacing(1),
        padding: theme.spacing(1.5, 0, 2),
    }),
    line: css({ display: 'flex', alignItems: 'center', gap: theme.spacing(1), height: 32 }),
    title: css({ fontSize: theme.typography.h4.fontSize, margin: 0 }),
    rest: css({ flexGrow: 1 }),
    pair: css({ display: 'flex' }),
    label: css({
        display: 'flex',
        alignItems: 'center',
        height: 32,
        padding: theme.spacing(0, 1),
        background: theme.colors.background.primary,
        border: `1px solid ${theme.colors.border.weak}`,
        borderRight: 'none',
        fontSize: theme.typography.bodySmall.fontSize,
        fontWeight: theme.typography.fontWeightMedium,
    }),
    box: css({
        display: 'flex',
        alignItems: 'center',
        gap: theme.spacing(0.5),
        height: 32,
        padding: theme.spacing(0, 1),
        background: theme.components.input.background,
        border: `1px solid ${theme.components.input.borderColor}`,
        borderRadius: theme.shape.radius.default,
    }),
    toggle: css({
        display: 'flex',
        alignItems: 'center',
        gap: 6,
        paddingLeft: theme.spacing(1),
        fontSize: theme.typography.bodySmall.fontSize,
        color: theme.colors.text.secondary,
        i: { width: 8, height: 8, borderRadius: 8 },
    }),
    faint: css({
        color: theme.colors.text.secondary,
        fontSize: theme.typography.bodySmall.fontSize,
    }),
    footer: css({
        padding: theme.spacing(1, 0),
        fontSize: 11,
        color: theme.colors.text.disabled,
        textAlign: 'right',
    }),
});
