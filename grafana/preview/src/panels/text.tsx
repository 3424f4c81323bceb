// Text: Grafana's Markdown renderer and styles.
import { renderTextPanelMarkdown, textUtil } from '@grafana/data';
import { PanelProps } from './common';

export function TextPanel({ panel, page }: PanelProps) {
    const { mode = 'markdown', content = '' } = panel.options ?? {};
    const text = page.variables.inText(content);
    const html = mode === 'markdown' ? renderTextPanelMarkdown(text) : textUtil.sanitize(text);
    return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}
