/* What a page looks like, for tests: colours that are too close, what is too wide, small, nameless. */
(() => ({
    /* Text 4.5:1 (3:1 where large), borders of controls 3:1. */
    contrast() {
        const numbers = color => color.match(/[\d.]+/g).map(Number);
        const light = color => {
            const part = numbers(color).slice(0, 3).map(value => value / 255)
                .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
        };
        const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
        const solid = color => (numbers(color)[3] ?? 1) === 1;
        const below = node => {
            for (; node; node = node.parentElement) {
                const color = getComputedStyle(node).backgroundColor;
                if (solid(color)) return color;
            }
            return "rgb(0, 0, 0)";
        };
        const wrong = [];
        for (const node of document.querySelectorAll("body *")) {
            if (!node.checkVisibility({visibilityProperty: true})) continue;
            const style = getComputedStyle(node);
            const text = [...node.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
            if (text || node.matches("input:not([type=range]), select")) {
                const size = parseFloat(style.fontSize);
                const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
                const found = ratio(style.color, below(node));
                if (found < (large ? 3 : 4.5)) wrong.push(`${node.tagName} ${text}: ${found.toFixed(2)}`);
            }
            const control = node.matches("button, select, input:is([type=number], [type=search])");
            if (control && parseFloat(style.borderTopWidth) > 0) {
                const found = ratio(style.borderTopColor, below(node.parentElement));
                if (found < 3) wrong.push(`border of ${node.tagName} ${text}: ${found.toFixed(2)}`);
            }
        }
        return wrong;
    },
    wide: () => [...document.querySelectorAll("body *")]
        .filter(node => node.checkVisibility() && !node.closest(".strip"))
        .filter(node => node.getBoundingClientRect().right > innerWidth + 1)
        .map(node => node.outerHTML.slice(0, 80)),
    /* A finger needs 24 pixels, or a label. */
    small: () => [...document.querySelectorAll("button, select, input")]
        .filter(node => node.checkVisibility() && !node.labels?.length)
        .map(node => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
        .filter(([_, box]) => box.height < 24 || box.width < 24).map(([name]) => name),
    nameless: () => [...document.querySelectorAll("button, select, input, canvas.paint, img")]
        .filter(node => node.checkVisibility())
        .filter(node => node.tagName === "IMG" ? !node.hasAttribute("alt")
            : !(node.ariaLabel || node.textContent.trim() || node.labels?.length))
        .map(node => node.outerHTML.slice(0, 80)),
}))()
