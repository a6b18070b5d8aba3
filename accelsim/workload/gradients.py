"""Gradients of a convolution: products as large as its own, over the same shapes."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.workload.ops import Conv2d, Matmul


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGradient(Conv2d):
    """Gradient of a convolution's image. ``inputs`` are the gradient of its result and its filters.

    Sizes are those of the convolution itself: ``h_in`` x ``w_in`` is what comes out here.
    """

    @property
    def gemm(self) -> Matmul:
        """The product that it is.

        Without a stride it is a convolution with the filters turned around: (image pixels, c_out kh kw, c_in). With
        one, (result pixels, c_out, c_in kh kw), and what falls on the same image pixel is added up.
        """
        plain = self.stride == (1, 1)
        return Matmul(
            name=self.name,
            inputs=self.inputs,
            outputs=self.outputs,
            epilogue=self.epilogue,
            batch=self.groups,
            m=self.batch * (self.h_in * self.w_in if plain else self.h_out * self.w_out),
            k=self.c_out // self.groups * (self.kh * self.kw if plain else 1),
            n=self.c_in // self.groups * (1 if plain else self.kh * self.kw),
            math=self.math,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterGradient(Conv2d):
    """Gradient of a convolution's filters. ``inputs`` are the gradient of its result and its image."""

    @property
    def gemm(self) -> Matmul:
        """``groups`` of (c_out / groups, result pixels, c_in kh kw / groups)."""
        return Matmul(
            name=self.name,
            inputs=self.inputs,
            outputs=self.outputs,
            epilogue=self.epilogue,
            batch=self.groups,
            m=self.c_out // self.groups,
            k=self.batch * self.h_out * self.w_out,
            n=self.c_in // self.groups * self.kh * self.kw,
            math=self.math,
        )
