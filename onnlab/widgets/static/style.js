// The look of the explorables: one accent, light and dark, from a phone to a wide notebook.

const DARK = `--ink:#e6e8eb;--soft:#a8b1bb;--line:#485460;--fill:#ffffff12;--accent:#56b4e9;--second:#f0a35e;--third:#5fc9a3;--on-accent:#0b1620;
  --paper:var(--pst-color-background,var(--jp-layout-color0,#14181e));color-scheme:dark`;

export const STYLE = `
.onn{--ink:#1f2328;--soft:#57606a;--line:#c9d1d9;--fill:#f1f4f7;--accent:#0072b2;--second:#b34700;--third:#00795a;--on-accent:#fff;
  --paper:var(--pst-color-background,var(--jp-layout-color0,#fff));color-scheme:light;
  position:relative;container-type:inline-size;box-sizing:border-box;max-width:64rem;margin:.5rem 0;padding:.9rem 1rem 1rem;
  border:1px solid var(--line);border-radius:10px;background:var(--paper);color:var(--ink);
  font:14px/1.4 var(--pst-font-family-base,var(--jp-ui-font-family,system-ui,sans-serif))}
@media (prefers-color-scheme:dark){:root:not([data-theme]) body:not([data-jp-theme-light]) .onn{${DARK}}}
:root[data-theme=dark] .onn,body[data-jp-theme-light=false] .onn{${DARK}}
.onn *{box-sizing:border-box}
.onn p,.onn dl,.onn .onn-facts dd,.onn .onn-facts dt,.onn figure,.onn fieldset,.onn legend{margin:0;padding:0;border:0;min-width:0}
.onn-head{display:flex;justify-content:space-between;align-items:center;gap:1rem;margin-bottom:.7rem}
.onn .onn-title{font-size:15px;font-weight:600}
.onn-pictures{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:.8rem;max-width:36rem;margin:0 auto}
@container (min-width:680px){.onn-pictures{grid-template-columns:repeat(4,minmax(0,1fr));max-width:none}
  .onn-pictures.onn-profile{grid-template-columns:repeat(2,minmax(0,1fr)) minmax(0,1.4fr)}}
@container (min-width:680px) and (max-width:799px){.onn-pictures.onn-pair{grid-template-columns:repeat(2,minmax(0,1fr));
  max-width:36rem}}
.onn-pictures.onn-charts{max-width:none;grid-template-columns:minmax(0,1fr)}
@container (min-width:480px){.onn-pictures.onn-charts{grid-template-columns:repeat(2,minmax(0,1fr))}}
@container (min-width:760px){.onn-pictures.onn-charts{grid-template-columns:repeat(3,minmax(0,1fr))}}
.onn .onn-small{width:100%;max-width:13rem;margin:0 auto}
.onn-grid4{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:.5rem .8rem;align-content:space-between}
@container (max-width:479px){.onn-grid4,.onn-grid4~figure{grid-column:1/-1}}
.onn .onn-row{grid-column:1/-1;font-weight:600;font-size:13px;color:var(--soft);margin-top:.2rem}
.onn [hidden]{display:none}
.onn figure{display:flex;flex-direction:column}
.onn figure.onn-wide{grid-column:1/-1}
@container (min-width:680px){.onn figure.onn-wide:not(.onn-broad){grid-column:auto}}
.onn figcaption{display:flex;justify-content:space-between;align-items:baseline;gap:.5em;margin-bottom:.25rem;
  text-align:left;font-size:13px;line-height:1.3;color:var(--soft)}
.onn-name{font-weight:600;color:var(--ink);white-space:nowrap}
.onn-note{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.onn-stage{position:relative;line-height:0;border-radius:4px;overflow:hidden;outline:1px solid var(--line)}
.onn canvas{display:block;width:100%;height:auto;aspect-ratio:1;image-rendering:pixelated;margin:0}
.onn canvas.onn-smooth{image-rendering:auto}
.onn-paintable canvas{cursor:crosshair;touch-action:none}
.onn-paintable canvas:focus{outline:none}
.onn-stage:has(canvas:focus-visible){outline:3px solid var(--accent);outline-offset:1px}
.onn-ring{position:absolute;aspect-ratio:1;transform:translate(-50%,-50%);border-radius:50%;pointer-events:none;
  opacity:0;border:1.5px solid #fff;box-shadow:0 0 0 1.5px #000,inset 0 0 0 1px #000}
.onn-ring.onn-square{border-radius:2px}
.onn-cut{position:absolute;aspect-ratio:1;pointer-events:none;border:1.5px solid #fff;box-shadow:0 0 0 1px #000}
.onn-stage:hover .onn-ring,canvas:focus~.onn-ring{opacity:1}
.onn-key{display:flex;align-items:center;gap:.45em;margin-top:.3rem;font-size:12px;line-height:1.3;color:var(--soft);
  font-variant-numeric:tabular-nums}
.onn-key i{flex:1;height:5px;border-radius:3px}
.onn-plot{position:relative;flex:1;min-height:150px}
.onn-plot svg{position:absolute;inset:0;width:100%;height:100%}
.onn-plot text{font-size:12px;fill:var(--soft)}
.onn-grid{stroke:var(--line);stroke-width:1;fill:none}
.onn-zero{stroke:var(--soft);stroke-width:1;fill:none}
.onn-level{stroke:var(--ink);stroke-width:1;stroke-dasharray:2 3;fill:none}
.onn-mark{stroke:var(--soft);stroke-width:1.5;fill:none}
.onn-chosen{fill:var(--fill)}
.onn-kind0{--kind:var(--accent)}
.onn-kind1{--kind:var(--second)}
.onn-kind2{--kind:var(--third)}
.onn-bar,.onn-swatch{fill:var(--kind);background:var(--kind);stroke:var(--kind);border:1px solid var(--kind)}
.onn-bar.onn-kind1{fill-opacity:.3}
.onn-swatch.onn-kind1{background:color-mix(in srgb,var(--kind) 30%,transparent)}
.onn-line{stroke:var(--kind);stroke-width:2;fill:none;stroke-linejoin:round}
.onn-line.onn-kind1{stroke-dasharray:7 3}
.onn-line.onn-kind2{stroke-dasharray:2 2}
.onn-dot{fill:var(--kind);stroke:var(--paper);stroke-width:1.5}
.onn-legend{display:flex;flex-wrap:wrap;gap:0 1rem;font-size:12px;line-height:1.4;color:var(--soft)}
.onn-pictures>.onn-legend{grid-column:1/-1}
.onn-legend span{display:flex;align-items:center;gap:.4em}
.onn-swatch{display:inline-block;width:.8em;height:.8em;border-radius:2px}
.onn-classes{display:flex;font-size:12px;line-height:1.4;text-align:center;color:var(--soft)}
.onn-pullable{cursor:ns-resize;touch-action:pan-x;border-radius:4px}
.onn-pullable:focus{outline:none}
.onn-pullable:focus-visible{outline:3px solid var(--accent);outline-offset:1px}
.onn .onn-facts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:.5rem .8rem;margin-top:.8rem;
  font-size:13px;line-height:1.4;white-space:nowrap}
@container (min-width:680px){.onn .onn-facts{grid-template-columns:repeat(4,minmax(0,1fr))}}
.onn .onn-facts dt{float:none;width:auto;font-weight:400;font-size:12px;color:var(--soft)}
.onn .onn-facts dd{float:none;width:auto;font-variant-numeric:tabular-nums}
.onn-controls{display:grid;gap:.7rem;margin-top:.8rem;padding-top:.8rem;border-top:1px solid var(--line)}
.onn-controls>div{display:flex;flex-wrap:wrap;align-items:end;gap:.7rem 1.2rem}
.onn legend,.onn-slider label{float:none;width:auto;font-size:13px;line-height:1.4;color:var(--soft);margin:0}
.onn-choice>div{display:flex;flex-wrap:wrap;margin-top:.2rem;border:1px solid var(--line);border-radius:6px;overflow:hidden}
.onn-choice label{position:relative;flex:1 0 auto;margin:0;padding:.32rem .7rem;font-size:13px;text-align:center;
  white-space:nowrap;cursor:pointer}
.onn-choice input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:pointer}
.onn-choice label:hover{background:var(--fill)}
.onn-choice label:has(:checked){background:var(--accent);color:var(--on-accent)}
.onn-choice label:has(:focus-visible){box-shadow:inset 0 0 0 2px var(--paper),inset 0 0 0 4px var(--accent)}
.onn-slider{display:grid;grid-template-columns:1fr auto;gap:.1rem .8rem;flex:1 1 10rem;max-width:24rem;margin:0}
.onn-slider span{font-size:13px;font-variant-numeric:tabular-nums}
.onn-slider input{grid-column:1/-1;width:100%;height:1.9rem;margin:0;accent-color:var(--accent);cursor:pointer}
.onn-toggle{display:flex;align-items:center;gap:.45em;min-height:2rem;margin:0;font-size:13px;cursor:pointer}
.onn-toggle input{width:1.05rem;height:1.05rem;margin:0;accent-color:var(--accent)}
.onn-button{padding:.25rem .7rem;border:1px solid var(--line);border-radius:6px;background:none;color:var(--ink);
  font:inherit;font-size:13px;cursor:pointer}
.onn-button:hover{background:var(--fill)}
.onn-button:focus-visible,.onn-slider input:focus-visible,.onn-toggle input:focus-visible{outline:2px solid var(--accent);
  outline-offset:2px}
.onn .onn-help{margin-top:.8rem;font-size:13px;color:var(--soft)}
.onn .onn-live{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@container (max-width:479px){.onn-choice,.onn-slider{flex:1 1 100%;max-width:none}}
@media (pointer:coarse){.onn-choice label{padding:.55rem .75rem}.onn-slider input{height:2.2rem}.onn-button{padding:.5rem .9rem}}
@media (forced-colors:active){.onn-choice label:has(:checked){outline:2px solid Highlight}}
`;
