"""HTML for the tokens of markdown-it: code has its colours, images are only linked, headings fit into the page."""

import re
from collections.abc import Sequence

from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from chats.colouring import code_of
from chats.web.formulas import MOST_FORMULAS, formula_html

LOWEST_HEADING = 6
ALIGNMENT = re.compile(r"text-align:(left|right|center)")


class AnswerRenderer(RendererHTML):
    """Each method renders the tokens of its name.

    `env` holds "colours", the HTML of each block of code that is coloured, "level", that of the last heading, and
    "formulas", how many there were.
    """

    def formula(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        env["formulas"] += 1
        latex = token.info if env["formulas"] <= MOST_FORMULAS else ""
        return formula_html(token.content, latex, is_block=token.block)

    def formula_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f'<div class="math" tabindex="0">{self.formula(tokens, idx, options, env)}</div>'

    def footnote_ref(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<sup>[{escapeHtml(tokens[idx].meta['label'])}]</sup>"

    def footnote_reference_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f'<div class="footnote"><sup>[{escapeHtml(tokens[idx].meta["label"])}]</sup>'

    def footnote_reference_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</div>"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A block of code below the name of its language."""
        token = tokens[idx]
        language = (token.info.split() or [""])[0][:30]
        html = env["colours"].get(code_of(token), escapeHtml(token.content))
        title = f'<span class="language">{escapeHtml(language)}</span>'
        return f'<div class="code">{title}<pre tabindex="0"><code>{html}</code></pre></div>'

    code_block = fence

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A link that shows the image's address. Loading the image would tell its host who reads this."""
        address = str(tokens[idx].attrs["src"])
        name = " ".join(escapeHtml(part) for part in (tokens[idx].content, f"({address})") if part)
        before = [token.type for token in tokens[:idx]]
        if before.count("link_open") > before.count("link_close"):  # links cannot be nested
            return name or escapeHtml(address)
        return f'<a href="{escapeHtml(address)}" target="_blank">{name or escapeHtml(address)}</a>'

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        tokens[idx].attrSet("target", "_blank")
        return self.renderToken(tokens, idx, options, env)

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A heading below those of the page. No level is left out, although many answers begin with the third."""
        if tokens[idx].nesting == 1:
            env["level"] = min(LOWEST_HEADING, int(tokens[idx].tag[1]) + 2, env["level"] + 1)
        tokens[idx].tag = f"h{env['level']}"
        return self.renderToken(tokens, idx, options, env)

    heading_close = heading_open

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="table" tabindex="0"><table>'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>"

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A cell whose alignment is a class, because the page's content security policy allows no style attributes."""
        token = tokens[idx]
        if alignment := ALIGNMENT.match(str(token.attrs.pop("style", ""))):
            token.attrSet("class", alignment[1])
        return self.renderToken(tokens, idx, options, env)

    th_open = td_open
