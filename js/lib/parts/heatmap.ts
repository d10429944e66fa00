// A heat map of layers by columns: one cell is selected, and where clicks change something, cells are changed.
import "./heatmap.css";
import type { Zoom } from "../canvas/layout";
import { toggle } from "../dom/dom";
import { dataOf, type MakePart } from "../page/part";
import { addressOf, chosenIn, type Grid, gridOf } from "../wire/grid";
import type { HeatmapData, Place } from "../wire/model";
import { facts, offlineDetails } from "./cell_facts";
import { gridCsv } from "./grid_csv";
import { signsOf } from "./grid_signs";
import { Plot } from "./plot";

/** @param home what the first view is, and that after a reset */
export const heatmap =
  (home: Zoom = "auto"): MakePart =>
  (host, name) => {
    let grid: Grid | null = null;
    const place = (row: number, col: number | null): Place => [grid?.data.rows[row] ?? row, col];
    const plot = new Plot(
      {
        select: (cell, wide) => host.click(grid ? addressOf(grid, cell) : {}, place(cell.row, wide ? null : cell.col)),
        region: (cells) => host.region(cells.map(({ row, col }) => place(row, col))),
        reset: () => host.select({}),
      },
      host.signal,
      home,
    );
    toggle(plot.el, false);
    return {
      el: plot.el,
      hint: "Click a cell for its details.",
      get empty() {
        return !grid?.values.length;
      },
      refresh({ frame, arrived, selection, edited, editable }) {
        const data = dataOf<HeatmapData>(frame, name);
        if (data && data !== grid?.data) {
          grid = gridOf(data);
          toggle(plot.el, grid.values.length > 0); // before drawing: what is hidden has no size
          plot.show(grid, frame?.title ?? "", chosenIn(grid, selection), arrived);
        } else plot.select(chosenIn(grid, selection));
        const rows = grid?.data.rows ?? [];
        const outlined = edited.map(({ place: [layer, col], state }) => ({ row: rows.indexOf(layer), col, state }));
        plot.edit(
          outlined.filter(({ row }) => row >= 0),
          editable,
        );
      },
      reset: () => plot.resetView(),
      recolour: (colours) => plot.recolour(colours),
      facts(at) {
        const { row, col } = chosenIn(grid, at);
        return grid && row !== null && col !== null ? facts(grid, { row, col }) : null;
      },
      told(at, planes) {
        const { row, col } = chosenIn(grid, at);
        return grid && row !== null && col !== null ? offlineDetails(planes, grid, { row, col }) : null;
      },
      get measured() {
        return grid?.data.scale.label ?? "";
      },
      signs: () => (grid ? signsOf(grid) : []),
      files: () => [
        { label: "Picture", hint: "PNG", mime: "image/png", make: () => plot.image() },
        { label: "Vector picture", hint: "SVG", mime: "image/svg+xml", make: async () => plot.svg() },
        { label: "Table", hint: "CSV", mime: "text/csv", make: async () => (grid ? gridCsv(grid) : null) },
      ],
    };
  };
