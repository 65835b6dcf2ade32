"""What the plots are drawn with: SVG by hand, of one width, whose colours follow the reader's light or dark mode."""

from html import escape

WIDTH = 760
# Lines of a plot in turn: apart from one another for the colour-blind too, and readable on white and on black.
COLOURS = ["#2f7ed8", "#d9730d", "#2a9d6f", "#b05cc6", "#c94f4f", "#7a8a2e", "#1f9bb5", "#8a6f5a"]
STYLE = """
text { font: 12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 } .faint { fill: #6a737d }
.end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: #8888884d } .axis { stroke: #888 }
.least { stroke: #24292f; stroke-width: 2 }
.goal { fill: none; stroke: #24292f; stroke-width: 1.5 }
.line { fill: none; stroke-width: 2 } .wanted { stroke: #888; stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) {
 text { fill: #e6edf3 } .faint { fill: #9aa4af } .least, .goal { stroke: #e6edf3 }
}
"""


class Drawing:
    """Elements one after another, and the height they need."""

    def __init__(self, title, height):
        self.height = height
        self.parts = [f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>"]

    def text(self, x, y, words, kind=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def bar(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>')

    def diamond(self, x, y, size, kind):
        points = f"{x:.1f},{y - size:.1f} {x + size:.1f},{y:.1f} {x:.1f},{y + size:.1f} {x - size:.1f},{y:.1f}"
        self.parts.append(f'<polygon points="{points}" class="{kind}"/>')

    def path(self, points, colour):
        told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{told}" class="line" stroke="{colour}"/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]

    def save(self, path):
        size = f'viewBox="0 0 {WIDTH} {self.height:.0f}" width="{WIDTH}" height="{self.height:.0f}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([head, *self.parts, "</svg>", ""]))
        print(f"drew {path}")
