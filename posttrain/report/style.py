"""The look of the page: colours for light, dark and print, type, and a script for the pointer."""

FONTS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Liberation Sans",Arial,sans-serif'

# Tones are from Okabe and Ito's palette for colour-blind readers, darkened on white and lightened on black
# until text in them keeps a contrast of 4.5; every one is also told apart by its label.
CSS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1e23;--soft:#5b626c;--faint:#e3e5e8;--rule:#c9cdd2;
--proxy:#0067a6;--gold:#96680a;--kl:#b3470a;--bad:#b0203a;--wash:#f6f7f8}
@media (prefers-color-scheme:dark){:root{--paper:#14161a;--ink:#e4e6ea;--soft:#9aa1ab;--faint:#2a2e34;
--rule:#454b54;
--proxy:#62b5ea;--gold:#e2ae3d;--kl:#f08a53;--bad:#ff7d90;--wash:#1b1e23}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 FONTS;
font-variant-numeric:tabular-nums}
main{max-width:1080px;margin:0 auto;padding:44px 28px 72px}
h1{font-size:25px;line-height:1.25;font-weight:600;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:17px;font-weight:600;margin:52px 0 4px;padding-top:12px;border-top:1px solid var(--rule)}
h3{font-size:14px;font-weight:600;margin:26px 0 6px}
p{margin:6px 0;max-width:74ch}
.meta,.caption,.lead .fine{color:var(--soft);font-size:12.5px}
.lead{font-size:17px;line-height:1.5;margin-top:18px}
.lead p{max-width:68ch;margin:8px 0}
.lead .fine{font-size:14px;color:var(--soft)}
.keys{display:flex;flex-wrap:wrap;gap:12px 44px;margin:26px 0 0;padding:14px 0;
border-top:1px solid var(--rule);
border-bottom:1px solid var(--rule)}
.keys div{min-width:150px}.keys dt{color:var(--soft);font-size:12.5px}
.keys dd{margin:0;font-size:21px;font-weight:600;letter-spacing:-.01em}
.keys dd small{display:block;font-size:12.5px;font-weight:400;color:var(--soft);letter-spacing:0}
.notes{margin:14px 0 0;padding:0 0 0 18px;color:var(--soft);font-size:13.5px}.notes li{margin:3px 0;
max-width:90ch}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:22px 20px;
margin:16px 0 4px}
.inline{display:flex;flex-wrap:wrap;gap:2px 26px;margin:6px 0 0;padding:0;list-style:none;font-size:13px}
.inline b{font-weight:600;margin-left:5px}.inline i{font-style:normal;color:var(--soft);margin-left:5px}
h4{font-size:12.5px;font-weight:600;margin:18px 0 0;color:var(--soft)}
.wide{overflow-x:auto}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:11px;fill:var(--ink)}
svg.dots{max-width:780px;margin:10px 0 4px}svg.graph{margin:18px 0 6px;min-width:860px}
svg.panel{max-width:380px}svg.narrow{display:none;max-width:380px;margin:6px 0 10px}
svg.narrow .label,svg.narrow .value,svg.narrow .note{paint-order:stroke;stroke:var(--paper);stroke-width:4px}
svg .title{font-size:12.5px;font-weight:600}svg .unit,svg .tick,svg .note{fill:var(--soft);font-size:10.5px}
svg .label,svg .value{font-size:12px}svg .value.bad{fill:var(--bad);font-weight:600}
svg .end{font-size:11.5px;font-weight:600}
svg .grid{stroke:var(--faint)}svg .axis,svg .zero{stroke:var(--rule)}svg .level{stroke:var(--soft);
stroke-dasharray:3 3}
svg .line{fill:none;stroke:var(--tone);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
svg .raw{fill:none;stroke:var(--tone);stroke-width:.8;opacity:.35}
svg .band{fill:var(--tone);opacity:.16}svg .whisker{stroke:var(--tone);stroke-width:1.5}
svg circle.faint{fill:var(--tone);opacity:.3}svg .arrow.faint{opacity:.4}
svg .dot{fill:var(--tone)}svg .hollow{fill:var(--paper);
stroke:var(--tone);stroke-width:1.6}
svg .end{fill:var(--tone)}
.ink{--tone:var(--ink)}.muted{--tone:var(--soft)}.proxy{--tone:var(--proxy)}.gold{--tone:var(--gold)}
.kl{--tone:var(--kl)}
svg .box{fill:var(--wash);stroke:var(--rule)}svg .box.trouble{stroke:var(--bad);stroke-width:1.6}
svg .name{font-size:13px;font-weight:600}svg .says{font-size:10.5px}
svg .arrow{fill:none;stroke:var(--soft);stroke-width:1.1}svg .head{fill:none;stroke:var(--soft);
stroke-width:1.2}
svg .cursor{visibility:hidden}svg .cursor line{stroke:var(--soft);stroke-width:.8}
svg .cursor circle{fill:var(--ink)}svg .cursor text{font-size:11px;font-weight:600;paint-order:stroke;
stroke:var(--paper);stroke-width:3px}
table{border-collapse:collapse;width:100%;font-size:13px;margin:10px 0 4px}
th,td{text-align:left;vertical-align:top;padding:6px 14px 6px 0;border-bottom:1px solid var(--faint)}
thead th{color:var(--soft);font-weight:500;font-size:12.5px;border-bottom:1px solid var(--rule);
white-space:nowrap}
tbody th{font-weight:400}td.n,th.n{text-align:right;white-space:nowrap}
.samples table{table-layout:fixed;min-width:720px}.samples td,.samples th{padding:9px 22px 9px 0}
.samples tbody th .said{font-weight:600}.said{white-space:pre-wrap;overflow-wrap:anywhere}
.said+.meta{display:block;margin-top:3px;font-size:11.5px}
code,.hash{font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;
overflow-wrap:anywhere}
.bar{display:inline-block;height:7px;background:var(--rule);margin-right:8px;vertical-align:1px}
.failed{color:var(--bad);font-weight:600}
.trouble{border-left:3px solid var(--bad);padding:2px 0 2px 14px;margin:16px 0}
details{margin:4px 0}summary{cursor:pointer;padding:4px 0}summary .meta{margin-left:8px}
footer{margin-top:56px;color:var(--soft);font-size:12.5px}
@media (max-width:760px){main{padding:24px 16px 48px}.lead{font-size:16px}.keys{gap:12px 28px}
svg.dots{display:none}svg.narrow{display:block}
.plain thead{display:none}.plain tr{display:flex;flex-wrap:wrap;gap:0 14px;padding:8px 0;
border-bottom:1px solid var(--faint)}
.plain td{display:block;padding:1px 0;border-bottom:0;text-align:left}.plain td:empty{display:none}
.plain td:first-child{flex-basis:100%;font-weight:600}
.plain td[data-name]::before{content:attr(data-name) " ";color:var(--soft)}
.samples table{min-width:0}.samples thead{display:none}.samples tbody,.samples tr,.samples th,
.samples td{display:block;width:auto}
.samples tr{padding:10px 0;border-bottom:1px solid var(--rule)}
.samples td,.samples th{padding:3px 0;border-bottom:0}
.samples td::before{content:attr(data-model);display:block;color:var(--soft);font-weight:600;
font-size:12px;margin-top:4px}}
@media print{main{padding:0;max-width:none}.panel,.dots,tr{break-inside:avoid}}
""".replace("FONTS", FONTS)

SCRIPT = """
for(const group of document.querySelectorAll('.multiples')){
const panels=[...group.querySelectorAll('svg[data-points]')].map(e=>({e,p:JSON.parse(e.dataset.points),
c:e.querySelector('.cursor')}));
const hide=()=>panels.forEach(q=>q.c.style.visibility='hidden');
const near=(p,f)=>p.reduce((a,b)=>Math.abs(f(b))<Math.abs(f(a))?b:a);
group.addEventListener('pointermove',ev=>{
const at=panels.find(q=>q.e.contains(ev.target));if(!at){hide();return}
const px=new DOMPoint(ev.clientX,ev.clientY).matrixTransform(at.e.getScreenCTM().inverse()).x;
const step=near(at.p,b=>b[1]-px)[0];
for(const q of panels){const b=near(q.p,r=>r[0]-step),[l,d,t]=q.c.children;
l.setAttribute('x1',b[1]);l.setAttribute('x2',b[1]);l.setAttribute('y1',46);l.setAttribute('y2',172);
d.setAttribute('cx',b[1]);d.setAttribute('cy',b[2]);
t.textContent=b[3]+' at '+b[0];t.setAttribute('x',b[1]);t.setAttribute('y',42);
t.setAttribute('text-anchor',b[1]>200?'end':'start');q.c.style.visibility='visible'}});
group.addEventListener('pointerleave',hide)}
"""
